"""Solutions by a teacher that errs: written as the right ones are, with results that are sometimes a digit off."""

import random

from treeroll.demo.arithmetic import (
    MIN_TASK_TERMS,
    Level,
    Tokens,
    draw,
    is_held_out,
    prompt_of,
    reduce_once,
    remainders,
    render,
)

SLIPS = (-10, -1, 1, 10)  # what a wrong result is off by: a carry too many or too few, or a neighbour


def erring_example(level: Level, errs: float, rng: random.Random) -> tuple[str, str]:
    """A prompt and a solution of which each step goes wrong with chance `errs`, and which goes on with what it has.

    As with right solutions, no held-out expression is shown, and no result is negative: there the teacher does not err.
    """
    while True:
        tokens = draw(level, rng)
        shown, solution = erring_solution(tokens, errs, rng)
        if not any(is_held_out(render(rest)) for rest in shown if len(rest) >= 2 * MIN_TASK_TERMS - 1):
            return prompt_of(render(tokens)), solution


def erring_solution(tokens: Tokens, errs: float, rng: random.Random) -> tuple[list[Tokens], str]:
    """The expressions that the solution shows, the problem first, and the solution."""
    shown, lines = [tokens], list[str]()
    while len(tokens) > 1:
        step, rest = reduce_once(tokens)
        if rng.random() < errs:
            step, rest = slipped(tokens, step, rest, rng.choice(SLIPS))
        tokens = rest
        shown.append(tokens)
        after = f", so {render(tokens)}" if len(tokens) > 1 else ""
        lines.append(f"Step {len(lines) + 1}: {step}{after}.\n")
    return shown, "".join(lines) + f"The answer is \\boxed{{{tokens[0]}}}."


def slipped(before: Tokens, step: str, rest: Tokens, slip: int) -> tuple[str, Tokens]:
    """The same step with a result that is off by `slip`; as it was if a result would be negative then."""
    at = before.index("*") - 1 if "*" in before else 0
    wrong: Tokens = [*rest[:at], int(rest[at]) + slip, *rest[at + 1 :]]
    if any(int(token) < 0 for after in remainders(wrong) for token in after[::2]):
        return step, rest
    return f"{step[: step.index('=')]}={wrong[at]}", wrong
