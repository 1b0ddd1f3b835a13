"""Budgets that cannot be, each refused with one sentence that names the key."""

from typing import Any

import pytest

from treeroll.config import RunConfig, parse
from treeroll.coordinator.budgets import check_deadline
from treeroll.coordinator.specs import run_spec
from treeroll.errors import InvalidInput

AMOUNTS = ("tokens", "leaves", "expansions", "tool_calls", "tokens_per_second", "burst_tokens", "task_tokens")
VOCABULARY = 100
NOON = 1_800_014_400.0  # 2027-01-15T12:00:00Z


def refused(**config: Any) -> str:
    with pytest.raises(InvalidInput) as caught:
        parse(RunConfig, config, "run 'r'")
    return str(caught.value)


def spec(**config: Any) -> Any:
    return run_spec("r", parse(RunConfig, {"segment_tokens": 32, "max_depth": 4, **config}, "run 'r'"), VOCABULARY)


@pytest.mark.parametrize("key", AMOUNTS)
@pytest.mark.parametrize(
    ("amount", "says"),
    [(-5, "greater than or equal to 1"), (0, "to 1, got 0"), (2**62 + 1, "4611686018427387904, got")],
)
def test_negative_zero_and_overflowing_amounts_are_refused_by_name(key: str, amount: int, says: str) -> None:
    sentence = refused(budget={key: amount})
    assert sentence.startswith(f"run 'r': 'budget.{key}' should be")
    assert says in sentence


@pytest.mark.parametrize("amount", [-1, 0, 2**63])
def test_the_short_form_is_held_to_the_same_bounds(amount: int) -> None:
    assert refused(budget_tokens=amount).startswith("run 'r': 'budget_tokens' should be")


@pytest.mark.parametrize("seconds", [0, -1.5, float("nan"), float("inf"), 2e9])
def test_seconds_are_a_time_to_come(seconds: float) -> None:
    assert refused(budget={"seconds": seconds}).startswith("run 'r': 'budget.seconds' should be")


@pytest.mark.parametrize("deadline", ["soon", "2027-01-15T12:00:00", 1_800_014_400, True])
def test_a_deadline_is_iso_8601_with_a_zone(deadline: object) -> None:
    assert refused(budget={"deadline": deadline}) == (
        "run 'r': 'budget.deadline' must be a time in ISO 8601 with its zone, such as 2027-01-31T18:00:00+01:00, "
        f"got {deadline!r}"
    )


def test_a_deadline_that_has_passed_is_refused_with_the_time_that_it_is() -> None:
    config = RunConfig.model_validate({"budget": {"deadline": "2027-01-15T13:00:00+01:00"}})
    check_deadline(config, NOON - 1)
    with pytest.raises(InvalidInput) as caught:
        check_deadline(config, NOON)
    assert str(caught.value) == (
        "budget.deadline 2027-01-15T13:00:00+01:00 is in the past: it is 2027-01-15T12:00:00+00:00"
    )


def test_two_names_of_one_cap_must_agree() -> None:
    assert refused(budget_tokens=5, budget={"tokens": 6}) == (
        "run 'r': budget_tokens is 5 and budget.tokens is 6; they are the same cap, give one"
    )
    assert spec(budget_tokens=500).config_json == spec(budget={"tokens": 500}).config_json
    assert spec(budget_tokens=500, budget={"tokens": 500}).budget.tokens == 500


def test_a_burst_needs_a_rate_and_room_for_a_path() -> None:
    assert refused(budget={"burst_tokens": 5}) == (
        "run 'r': budget.burst_tokens is set without budget.tokens_per_second, so it says nothing"
    )
    with pytest.raises(InvalidInput, match=r"budget.burst_tokens is 100, but one branch may need max_tokens 128"):
        spec(budget={"tokens_per_second": 10, "burst_tokens": 100})
    assert spec(budget={"tokens_per_second": 10}).budget.burst_tokens == 128
    assert spec(budget={"tokens_per_second": 1000}).budget.burst_tokens == 1000


def test_a_cap_on_tool_calls_needs_a_tool() -> None:
    with pytest.raises(InvalidInput, match=r"budget.tool_calls is set, but the segment policy has no tool"):
        spec(budget={"tool_calls": 5})
    assert spec(budget={"tool_calls": 5}, segment={"name": "agent_step"}).budget.tool_calls == 5


def test_an_unknown_cap_is_named() -> None:
    assert "unknown key 'budget.tokenz'" in refused(budget={"tokenz": 5})
