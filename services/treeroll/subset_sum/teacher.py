"""Worked solutions to imitate, by a solver that errs: what it writes is right, what it picks may not be.

    Given:17,05,12,09,20,14,03,08 for:30-34;
    Up:03,05,08,09,12,14,17,20;
    Sums:03=03,05=08,08=16,09=25,12=37,14=51,17=68,20=88;
    20 take sum20 rest68;
    17 skip sum20 rest51;
    ...
    Total29 short01;
    Swap08 for09 total30 good;
    \\boxed{20,09,...}

The first three lines are determined by the prompt. `rest` is what the smaller numbers come to: it is in the third line.
"""

import random
from typing import Final, NamedTuple

from treeroll.subset_sum.puzzle import COUNT, Puzzle, draw, written

# Chance of the right choice where one of the two can still succeed, and of a right repair where there is one. So chosen
# that success ranges from about a seventh of samples to about two thirds, by difficulty.
RIGHT_CHOICE: Final = 0.65
RIGHT_REPAIR: Final = 0.35
# Chance of taking a number that makes the sum too large.
TAKE_TOO_MUCH: Final = 0.02
MOST_REPAIRS: Final = 2


class Move(NamedTuple):
    """A repair: a number comes in, another goes out, or only one of the two."""

    drop: int | None
    add: int | None

    @property
    def change(self) -> int:
        """Of the sum."""
        return (self.add or 0) - (self.drop or 0)

    def text(self) -> str:
        """As solutions write it."""
        if self.drop is None:
            return f"Add{self.add:02}"
        return f"Drop{self.drop:02}" if self.add is None else f"Swap{self.drop:02} for{self.add:02}"


def plan(puzzle: Puzzle) -> str:
    """What every solution begins with."""
    ascending = sorted(puzzle.numbers)
    sums = ",".join(f"{number:02}={sum(ascending[: place + 1]):02}" for place, number in enumerate(ascending))
    return f"Given:{written(puzzle.numbers)} for:{puzzle.range()};\nUp:{written(ascending)};\nSums:{sums};\n"


def solution(puzzle: Puzzle, rng: random.Random) -> str:
    """A whole completion, without the end-of-text token."""
    picked, lines = _choices(puzzle, rng)
    total = sum(picked)
    lines.append(f"Total{total:02} {_verdict(puzzle, total)};\n")
    for _ in range(MOST_REPAIRS):
        if puzzle.low <= total <= puzzle.high:
            break
        move = _repair(puzzle, picked, rng)
        if move is None:
            break
        picked = [number for number in picked if number != move.drop]
        if move.add is not None:
            picked.append(move.add)
        total += move.change
        lines.append(f"{move.text()} total{total:02} {_verdict(puzzle, total)};\n")
    return f"{plan(puzzle)}{''.join(lines)}\\boxed{{{written(sorted(picked, reverse=True))}}}"


def training_example(rng: random.Random, count: int = COUNT) -> tuple[str, str]:
    """A prompt and its solution, of any difficulty, and no held-out puzzle."""
    while True:
        puzzle = draw(rng.randint(1, 5), rng, count)
        if not puzzle.held_out():
            return puzzle.prompt(), solution(puzzle, rng)


def _choices(puzzle: Puzzle, rng: random.Random) -> tuple[list[int], list[str]]:
    """The numbers taken and the lines written, from the largest number to the smallest."""
    descending = sorted(puzzle.numbers, reverse=True)
    picked: list[int] = []
    lines = []
    for place, number in enumerate(descending):
        total, smaller = sum(picked), descending[place + 1 :]
        if rng.random() < _taking(puzzle, total, number, _sums(smaller)):
            picked.append(number)
            word, total = "take", total + number
        else:
            word = "skip"
        lines.append(f"{number:02} {word} sum{total:02} rest{sum(smaller):02};\n")
    return picked, lines


def _taking(puzzle: Puzzle, total: int, number: int, reachable: set[int]) -> float:
    """The chance that the teacher takes a number."""
    if total + number > puzzle.high:
        return TAKE_TOO_MUCH
    taken, skipped = (
        any(puzzle.low <= so_far + more <= puzzle.high for more in reachable) for so_far in (total + number, total)
    )
    if taken == skipped:
        return 0.5
    return RIGHT_CHOICE if taken else 1 - RIGHT_CHOICE


def _sums(numbers: list[int]) -> set[int]:
    """Of all subsets."""
    found = {0}
    for number in numbers:
        found |= {total + number for total in found}
    return found


def _verdict(puzzle: Puzzle, total: int) -> str:
    if total < puzzle.low:
        return f"short{puzzle.low - total:02}"
    return f"over{total - puzzle.high:02}" if total > puzzle.high else "good"


def _repair(puzzle: Puzzle, picked: list[int], rng: random.Random) -> Move | None:
    """A move towards the range; None if there is none."""
    lacking = [number for number in sorted(puzzle.numbers) if number not in picked]
    total = sum(picked)
    short = total < puzzle.low
    moves = [Move(None, number) for number in lacking] if short else [Move(number, None) for number in picked]
    moves += [Move(out, new) for out in picked for new in lacking if (new > out) == short]
    if not moves:
        return None
    right = [move for move in moves if puzzle.low <= total + move.change <= puzzle.high]
    return rng.choice(right if right and rng.random() < RIGHT_REPAIR else moves)
