"""The teacher that errs: its solutions differ from right ones by the results it gets wrong, and what follows."""

import random
import re
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "scripts"))

from demo_model.teacher import SLIPS, erring_example, erring_solution

from treeroll.demo import arithmetic

LEVELS = [*arithmetic.LEVELS.values(), *arithmetic.ONE_STEP]
STEP = re.compile(r"Step \d+: (\d+)([-+*])(\d+)=(\d+)")


def slips_of(solution: str) -> list[int]:
    """What each step's result is off by."""
    return [
        int(result) - arithmetic.apply(int(left), operator, int(right))
        for left, operator, right, result in STEP.findall(solution)
    ]


def test_who_never_errs_writes_the_right_solution() -> None:
    rng = random.Random(0)
    for level in LEVELS:
        tokens = arithmetic.draw(level, rng)
        assert erring_solution(tokens, 0.0, rng)[1] == arithmetic.solve(tokens)[0]


@pytest.mark.parametrize("errs", [0.1, 0.3])
def test_steps_go_wrong_as_often_as_asked_and_no_further_than_a_slip(errs: float) -> None:
    rng = random.Random(0)
    slips = [slip for _ in range(1500) for slip in slips_of(erring_example(arithmetic.LEVELS[4], errs, rng)[1])]
    assert set(slips) == {0, *SLIPS}
    # Where a result would be negative the teacher does not err, so it errs a little less often than it is asked to.
    assert 0.85 * errs < sum(slip != 0 for slip in slips) / len(slips) < 1.1 * errs


def test_a_solution_goes_on_with_what_it_has_and_ends_with_it() -> None:
    rng = random.Random(0)
    for level in LEVELS:
        shown, solution = erring_solution(arithmetic.draw(level, rng), 1.0, rng)
        rests = re.findall(r", so ([0-9+*-]+)\.\n", solution)
        assert rests == [arithmetic.render(rest) for rest in shown[1:-1]]
        last_result = STEP.findall(solution)[-1][3]
        assert solution.endswith(f"={last_result}.\nThe answer is \\boxed{{{last_result}}}.")
        assert "-" not in last_result


def test_no_held_out_expression_is_shown_not_even_behind_an_error() -> None:
    rng = random.Random(0)
    for level in LEVELS:
        for _ in range(50):
            prompt, solution = erring_example(level, 0.5, rng)
            for expression in re.findall(r"(?:Compute |so )([0-9+*-]+)\.\n", prompt + solution):
                if len(re.findall(r"\d+", expression)) >= arithmetic.MIN_TASK_TERMS:
                    assert not arithmetic.is_held_out(expression)
