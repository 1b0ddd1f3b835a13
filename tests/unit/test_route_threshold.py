"""The threshold route: hard tasks to the large model, and the hard-budget mask before that."""

from typing import Any

import pytest

from treeroll.policies.registry import build
from treeroll.policy.allocate import BudgetView, Outcome, TaskView
from treeroll.policy.base import Limits
from treeroll.policy.route import ModelView, Routing

SMALL, LARGE = ModelView(500.0, 9000.0, 8), ModelView(2000.0, 10_000.0, 4)


def opened(**params: Any) -> Routing:
    routing: Routing = build("route", "threshold", params, Limits(16, 32, 4, 128)).open(1)
    return routing


def task(successes: float = 0.0, scored: float = 0.0, text: str = "1 + 1 =") -> TaskView:
    return TaskView("t", text, 5, successes, scored)


def routed(routing: Routing, asked: TaskView, tokens_left: int | None = None, large: ModelView = LARGE) -> str:
    return routing.route(asked, BudgetView(tokens_left, None, 100.0, 10, 12), {"small": SMALL, "large": large})


@pytest.mark.parametrize(
    ("successes", "scored", "model"),
    [(0, 0, "small"), (8, 16, "small"), (7.9, 16, "large"), (0, 16, "large"), (16, 16, "small")],
)
def test_a_task_is_hard_below_the_threshold_and_an_unknown_one_is_not(
    successes: float, scored: float, model: str
) -> None:
    assert routed(opened(), task(successes, scored)) == model


def test_the_threshold_may_be_elsewhere() -> None:
    assert routed(opened(below=0.2), task(4, 16)) == "small"
    assert routed(opened(below=1.0), task(15, 16)) == "large"


@pytest.mark.parametrize(
    ("tokens_left", "model"), [(None, "large"), (2000, "large"), (1999, "small"), (499, "small"), (0, "small")]
)
def test_a_hard_task_goes_to_the_small_model_where_the_large_one_is_expected_to_take_more_than_is_left(
    tokens_left: int | None, model: str
) -> None:
    assert routed(opened(), task(0, 16), tokens_left) == model


def test_an_easy_task_goes_to_the_large_model_only_where_nothing_else_fits() -> None:
    cheap = ModelView(100.0, 0.0, 4)
    assert routed(opened(), task(16, 16), 499, cheap) == "large"
    assert routed(opened(), task(16, 16), 99, cheap) == "small"


@pytest.mark.parametrize(("cap", "model"), [(12_000, "large"), (11_999, "small")])
def test_the_large_model_has_a_cap_of_its_own(cap: int, model: str) -> None:
    assert routed(opened(large_tokens=cap), task(0, 16)) == model


def test_with_a_prior_the_small_model_is_tried_again_when_its_failures_have_faded() -> None:
    rates = [routed(opened(prior=1.0), task(0.0, 16 * 0.5**epoch)) for epoch in range(12)]
    assert rates == ["large"] * 12
    assert routed(opened(prior=1.0, below=0.45), task(0.0, 16 * 0.5**7)) == "small"


def test_the_predictor_learns_from_the_small_model_only() -> None:
    hard, failed = task(text="9 * 9 * 9 ="), Outcome(0, 16, 500, 1.0)
    taught, untaught = opened(predictor="prompt"), opened(predictor="prompt")
    for _ in range(20):
        taught.learn(hard, failed, "small")
        untaught.learn(hard, failed, "large")
    assert routed(taught, hard) == "large"
    assert routed(untaught, hard) == "small"
