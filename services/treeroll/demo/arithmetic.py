"""Arithmetic problems of graded difficulty, and the worked solutions the demo model learns to write.

A problem is a chain such as ``12+4*6-30``. The solution reduces one operation per line and carries the rest of the
expression along: products first, from the left, then sums and differences, from the left:

    Compute 12+4*6-30.
    Step 1: 4*6=24, so 12+24-30.
    Step 2: 12+24=36, so 36-30.
    Step 3: 36-30=6.
    The answer is \\boxed{6}.

Results of steps are never negative.

Tasks are held out by a rule, not by a list: an expression whose SHA-256 begins with a byte divisible by 16 is never
in training, neither as a problem nor as what is left of a longer one after some steps. Tasks are drawn from only those.
"""

import hashlib
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import cycle

HELD_OUT_ONE_IN = 16
MIN_TASK_TERMS = 3
MIN_COMPLETION_CHARS, MAX_COMPLETION_CHARS = 60, 250


@dataclass(frozen=True)
class Level:
    """What problems of one difficulty look like. A product counts as one term of the sum."""

    terms: int
    low: int  # smallest and largest plain term
    high: int
    products: int = 0  # how many of the terms are products
    factors: tuple[tuple[int, int], tuple[int, int]] = ((2, 9), (2, 9))  # range of each factor


TWO_DIGITS = (11, 99)

# From what the model always solves to what it never does.
LEVELS: dict[int, Level] = {
    1: Level(terms=3, low=2, high=29),
    2: Level(terms=3, low=10, high=99),
    3: Level(terms=4, low=10, high=99),
    4: Level(terms=5, low=10, high=99),
    5: Level(terms=3, low=100, high=999),
    6: Level(terms=3, low=10, high=99, products=1, factors=(TWO_DIGITS, (2, 9))),
    7: Level(terms=4, low=100, high=999),
    8: Level(terms=4, low=10, high=99, products=2, factors=(TWO_DIGITS, (2, 9))),
    9: Level(terms=5, low=100, high=999, products=1, factors=(TWO_DIGITS, (2, 9))),
    10: Level(terms=4, low=100, high=999, products=2, factors=(TWO_DIGITS, TWO_DIGITS)),
}
# What training by rewards draws from; the other levels are long, and out of reach for longest.
TRAINING_LEVELS = (1, 2, 3, 4, 5, 6, 7)
# Problems of one step, never a task: short, so the cheapest way to learn the arithmetic itself.
ONE_STEP: tuple[Level, ...] = (
    Level(terms=2, low=2, high=99),
    Level(terms=2, low=10, high=999),
    Level(terms=2, low=100, high=1999),
    Level(terms=1, low=0, high=0, products=1, factors=((2, 99), (2, 9))),
)

Tokens = list[int | str]  # numbers and operators, alternating


def render(tokens: Sequence[int | str]) -> str:
    """The expression as text, without spaces."""
    return "".join(str(token) for token in tokens)


def is_held_out(expression: str) -> bool:
    """Whether this expression is kept for tasks. The only rule that separates tasks from training."""
    return hashlib.sha256(expression.encode()).digest()[0] % HELD_OUT_ONE_IN == 0


def prompt_of(expression: str) -> str:
    """What a model is asked."""
    return f"Compute {expression}.\n"


def apply(left: int, operator: str, right: int) -> int:
    """The result of one operation: "+", "-", or the product for any other operator."""
    if operator == "+":
        return left + right
    if operator == "-":
        return left - right
    return left * right


def reduce_once(tokens: Tokens) -> tuple[str, Tokens]:
    """The first operation in order of precedence, written out, and the expression that is left."""
    at = tokens.index("*") if "*" in tokens else 1
    left, operator, right = tokens[at - 1 : at + 2]
    result = apply(int(left), str(operator), int(right))
    return f"{left}{operator}{right}={result}", [*tokens[: at - 1], result, *tokens[at + 2 :]]


def remainders(tokens: Tokens) -> Iterator[Tokens]:
    """The expression itself and what is left of it after each step."""
    yield tokens
    while len(tokens) > 1:
        _, tokens = reduce_once(tokens)
        yield tokens


def solve(tokens: Tokens) -> tuple[str, int]:
    """The worked solution (what the model writes after the prompt) and the answer."""
    lines: list[str] = []
    while len(tokens) > 1:
        step, tokens = reduce_once(tokens)
        rest = f", so {render(tokens)}" if len(tokens) > 1 else ""
        lines.append(f"Step {len(lines) + 1}: {step}{rest}.\n")
    return "".join(lines) + f"The answer is \\boxed{{{tokens[0]}}}.", int(tokens[0])


def draw(level: Level, rng: random.Random) -> Tokens:
    """One problem of this level. Signs are random, but no partial sum is negative."""
    product_places = set(rng.sample(range(level.terms), level.products))
    tokens: Tokens = []
    total = 0
    for place in range(level.terms):
        if place in product_places:
            left, right = (rng.randint(*bounds) for bounds in level.factors)
            term: Tokens = [left, "*", right]
            value = left * right
        else:
            value = rng.randint(level.low, level.high)
            term = [value]
        minus = place > 0 and value <= total and rng.random() < 0.5
        total += -value if minus else value
        tokens += term if place == 0 else ["-" if minus else "+", *term]
    return tokens


def allowed_in_training(tokens: Tokens) -> bool:
    """No held-out expression may be seen, not even as a later line of some other problem."""
    return not any(is_held_out(render(rest)) for rest in remainders(tokens) if len(rest) >= 2 * MIN_TASK_TERMS - 1)


def training_example(level: Level, rng: random.Random) -> tuple[str, str]:
    """A prompt and its solution, never touching the held-out expressions."""
    while True:
        tokens = draw(level, rng)
        if allowed_in_training(tokens):
            return prompt_of(render(tokens)), solve(tokens)[0]


def training_tasks(levels: Sequence[int] = TRAINING_LEVELS, seed: int = 1) -> Iterator[dict[str, str | int]]:
    """Without end: problems to learn from by rewards, level after level in turn, none of them held out."""
    rng = random.Random(seed)
    for number, difficulty in enumerate(cycle(levels), 1):
        while True:
            tokens = draw(LEVELS[difficulty], rng)
            solution, answer = solve(tokens)
            if allowed_in_training(tokens) and len(solution) < MAX_COMPLETION_CHARS:
                break
        yield {
            "id": f"train-{number:06d}",
            "prompt": prompt_of(render(tokens)),
            "answer": str(answer),
            "difficulty": difficulty,
        }


def make_tasks(per_level: int, seed: int) -> list[dict[str, str | int]]:
    """Held-out problems, the same number for each level, as rows of tasks.jsonl."""
    rng = random.Random(seed)
    tasks: list[dict[str, str | int]] = []
    seen: set[str] = set()
    for difficulty, level in LEVELS.items():
        wanted = len(tasks) + per_level
        while len(tasks) < wanted:
            tokens = draw(level, rng)
            expression = render(tokens)
            solution, answer = solve(tokens)
            # One more token than characters: the end-of-text token.
            fits = MIN_COMPLETION_CHARS <= len(solution) + 1 <= MAX_COMPLETION_CHARS
            if expression in seen or not is_held_out(expression) or not fits:
                continue
            seen.add(expression)
            tasks.append(
                {
                    "id": f"arith-{len(tasks) + 1:03d}",
                    "prompt": prompt_of(expression),
                    "answer": str(answer),
                    "difficulty": difficulty,
                }
            )
    return tasks
