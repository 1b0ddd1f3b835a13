"""The claims benchmark counts right, judges right, and says what it could not measure."""

import asyncio
import json
import math
from collections.abc import Sequence
from pathlib import Path

import pytest

from treeroll.bench.claims import deadline, knapsack, pruning, search, turns
from treeroll.bench.claims.arena import Arm
from treeroll.bench.claims.bench import CLAIMS, SHAPE, chosen, measure
from treeroll.bench.claims.claim import Claim, Verdict
from treeroll.bench.claims.deadline import Static, Task, completed
from treeroll.bench.claims.plots import draw
from treeroll.bench.claims.statistics import Point, tokens_for, vote
from treeroll.bench.claims.turns import Walk, capped
from treeroll.bench.rounds import Figures
from treeroll.config import RunConfig, parse
from treeroll.coordinator.specs import run_spec
from treeroll.demo import TASKS_FILE
from treeroll.errors import InvalidInput
from treeroll.policy.allocate import TaskView
from treeroll.tasks import read_tasks

SIMULATED = {"engine": "simulated", "slots": 64, "block_size": 32, "simulated": {"step_s": 0.0}}


def figures(claim: Claim, value: float) -> list[Figures]:
    """The same value for all that the claim shows."""
    return [{column.figure: value for column in claim.columns}]


def test_a_vote_is_for_the_commonest_answer_and_nobody_votes_for_none() -> None:
    assert vote(["7", "3", "7"]) == "7"
    assert vote(["9", "3"]) == "3"
    assert vote([]) is None


def test_tokens_for_an_accuracy_lie_on_straight_lines_between_points() -> None:
    curve = [Point(100, 0.4), Point(200, 0.6), Point(300, 0.6), Point(400, 0.8)]
    assert tokens_for(curve, 0.5) == 150
    assert tokens_for(curve, 0.3) == 100
    assert tokens_for(curve, 0.7) == pytest.approx(350)
    assert tokens_for(curve, 0.9) == math.inf


def test_a_cap_keeps_who_needed_no_more_turns_and_pays_for_the_others_up_to_it() -> None:
    walks = [Walk([10, 20], 30, True), Walk([10, 20, 40], 50, True), Walk([5], 9, False)]
    assert capped(walks, 2) == (30 + 20 + 9, 1)
    assert capped(walks, 3) == (30 + 50 + 9, 2)


def tasks(count: int, tokens: int, right: bool) -> list[Task]:
    """Tasks whose samples are all alike."""
    return [Task(TaskView(f"t{place}", "", 5), [(tokens, right)] * 16) for place in range(count)]


@pytest.mark.parametrize(
    ("tokens", "seconds", "share"), [(10_000, 100.0, 1.0), (500, 100.0, 0.5), (10_000, 0.5, 0.0), (10_000, 1.0, 1.0)]
)
def test_tasks_complete_within_tokens_and_seconds_only(tokens: int, seconds: float, share: float) -> None:
    assert completed(tasks(10, 100, True), Static(1), tokens, seconds, 1) == share


def test_a_task_without_a_right_sample_is_not_complete() -> None:
    assert completed(tasks(3, 10, False), Static(4), 10_000, 100.0, 1) == 0.0


@pytest.mark.parametrize(
    ("claim", "rounds", "verdict"),
    [
        (knapsack.CLAIM, [{"more": 25.0}, {"more": 22.0}, {"more": 5.0}], Verdict.HOLDS),
        (knapsack.CLAIM, [{"more": 25.0}, {"more": 12.0}, {"more": 5.0}], Verdict.FAILS),
        (search.DORA, [{"right_dora": 60.0, "right_rebase": 60.0, "fewer": 4.0}], Verdict.HOLDS),
        (search.DORA, [{"right_dora": 59.0, "right_rebase": 60.0, "fewer": 4.0}], Verdict.FAILS),
        (search.BAVT, [{"right_bavt": 60.0, "right_flat": 50.0, "share": 40.0}], Verdict.FAILS),
        (pruning.CLAIMS[1], [{"fewer": 30.0}, {"fewer": 26.0}, {"fewer": -1.0}], Verdict.FAILS),
        (pruning.CLAIMS[1], [{"fewer": 30.0}, {"fewer": 26.0}, {"fewer": 1.0}], Verdict.HOLDS),
        (deadline.CLAIM, [{"gain": 9.0, "gain_best": -0.5}], Verdict.FAILS),
        (turns.CLAIM, [{"saved_75": 20.0, "lost_75": 5.0, "lost_25": 50.0}], Verdict.HOLDS),
    ],
)  # fmt: skip
def test_a_verdict_follows_from_the_figures(claim: Claim, rounds: Sequence[Figures], verdict: Verdict) -> None:
    assert claim.judge(rounds)[0] is verdict


@pytest.mark.parametrize("arm", [pruning.ECHO, pruning.HYPER, pruning.HBPO], ids=lambda arm: arm.recipe)
def test_the_settings_of_an_arm_make_a_run_with_its_leaves(arm: Arm) -> None:
    settings = {**SHAPE, "recipe": arm.recipe, "leaves": arm.leaves, **arm.settings}
    assert run_spec("run", parse(RunConfig, settings, "arm"), 100).branch.max_leaves == arm.leaves


def test_an_unknown_claim_is_refused() -> None:
    with pytest.raises(InvalidInput, match="no claim 'p_np'"):
        chosen("headline,p_np")


def test_what_nothing_is_registered_for_is_a_row_that_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("treeroll.bench.claims.claim.registered", lambda kind, name: False)
    result = asyncio.run(measure([search.BAVT], [], 1, SIMULATED, lambda line: None))
    found = result.as_json()["claims"]["bavt"]
    assert found["verdict"] == "not measured"
    assert "recipe bavt" in found["why"]
    assert len(result.table().rows) == 1


@pytest.mark.slow
def test_every_claim_that_can_be_measured_is_on_a_simulated_engine(tmp_path: Path) -> None:
    claims = [claim for claim in CLAIMS.values() if claim.model == "demo"]
    known = list(read_tasks(TASKS_FILE))[::50]
    result = asyncio.run(measure(claims, known, 1, SIMULATED, lambda line: None))
    for claim in claims:
        assert (len(result.rounds[claim.name]) == 1) == (claim.missing() is None)
        for found in result.rounds[claim.name]:
            assert {column.figure for column in claim.columns} <= found.keys()
    json.dumps(result.as_json())
    assert len(result.table().rows) == len(claims)
    pytest.importorskip("matplotlib")
    for path in draw([(claim, result.rounds[claim.name]) for claim in claims], tmp_path):
        assert path.read_bytes().startswith(b"\x89PNG")
