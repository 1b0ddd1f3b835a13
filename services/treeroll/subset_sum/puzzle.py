"""One puzzle: numbers, and the range in which the sum of those picked has to lie."""

import hashlib
import random
from dataclasses import dataclass
from typing import Any, Final

COUNT: Final = 8
SMALLEST, LARGEST = 2, 20
# No sum of numbers has three digits.
MOST_IN_ALL: Final = 99
LEAST_LOW: Final = 15
# high - low, by difficulty: the wider the range, the more subsets are right.
WIDTHS: Final = {1: 7, 2: 4, 3: 2, 4: 1, 5: 0}
HELD_OUT_ONE_IN: Final = 16


@dataclass(frozen=True)
class Puzzle:
    """Different numbers of 1 to 99, in the order of the prompt, and the smallest and the largest right sum."""

    numbers: tuple[int, ...]
    low: int
    high: int

    def prompt(self) -> str:
        """What the model is asked."""
        return f"Pick from:{written(self.numbers)} for:{self.range()}.\n"

    def range(self) -> str:
        """The range as prompts and solutions write it."""
        return f"{self.low:02}-{self.high:02}"

    def solved_by(self, picked: str) -> bool:
        """Whether this is a list of two-digit numbers of the puzzle, none twice, with a sum in the range."""
        parts = picked.split(",")
        if not all(len(part) == 2 and part.isascii() and part.isdigit() for part in parts):
            return False
        found = [int(part) for part in parts]
        return len(set(found)) == len(found) and set(found) <= set(self.numbers) and self.low <= sum(found) <= self.high

    def held_out(self) -> bool:
        """Whether it is kept for tasks. The only rule that separates tasks from training; order does not matter."""
        key = f"{written(sorted(self.numbers))}:{self.range()}"
        return hashlib.sha256(key.encode()).digest()[0] % HELD_OUT_ONE_IN == 0


def written(numbers: tuple[int, ...] | list[int]) -> str:
    """A list of numbers in two digits each."""
    return ",".join(f"{number:02}" for number in numbers)


def draw(difficulty: int, rng: random.Random, count: int = COUNT) -> Puzzle:
    """One puzzle of this difficulty with so many numbers, which has a solution. Tasks have COUNT of them."""
    while True:
        numbers = rng.sample(range(SMALLEST, LARGEST + 1), count)
        if sum(numbers) <= MOST_IN_ALL:
            break
    width = WIDTHS[difficulty]
    while True:
        picked = rng.choice((max(1, count // 2 - 1), count // 2, count // 2 + 1))
        low = sum(rng.sample(numbers, picked)) - rng.randint(0, width)
        if low >= LEAST_LOW * count // COUNT:
            return Puzzle(tuple(numbers), low, low + width)


def make_tasks(per_difficulty: int, seed: int) -> list[dict[str, Any]]:
    """Held-out puzzles, the same number of each difficulty, as rows of tasks.jsonl."""
    rng = random.Random(seed)  # noqa: S311 - puzzles, not secrets
    rows: list[dict[str, Any]] = []
    seen: set[str] = set()
    for difficulty in WIDTHS:
        wanted = len(rows) + per_difficulty
        while len(rows) < wanted:
            puzzle = draw(difficulty, rng)
            prompt = puzzle.prompt()
            if prompt in seen or not puzzle.held_out():
                continue
            seen.add(prompt)
            rows.append({
                "id": f"subset-{len(rows) + 1:03}", "prompt": prompt, "numbers": list(puzzle.numbers),
                "low": puzzle.low, "high": puzzle.high, "difficulty": difficulty,
            })  # fmt: skip
    return rows
