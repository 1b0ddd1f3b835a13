"""The claims benchmark counts right, judges right, and says what it could not measure."""

import asyncio
import json
import math
from collections.abc import Sequence
from pathlib import Path
from statistics import stdev
from types import SimpleNamespace

import pytest

from treeroll.bench.claims import deadline, headline, ib_tpo, knapsack, predictor, pruning, search, treepo, turns
from treeroll.bench.claims.arena import Arm
from treeroll.bench.claims.arms import FLAT, POOL
from treeroll.bench.claims.bench import CLAIMS, SHAPE, chosen, measure
from treeroll.bench.claims.claim import Claim, Verdict, pooled
from treeroll.bench.claims.deadline import Static, Task, completed
from treeroll.bench.claims.plots import draw
from treeroll.bench.claims.statistics import Gap, Point, paired, tokens_for, vote
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


def graded(scores: dict[str, list[float]]) -> list[SimpleNamespace]:
    """Trees by task, whose score is what is listed."""
    return [SimpleNamespace(task_id=task, score=score) for task, found in scores.items() for score in found]


def test_a_difference_is_paired_by_task() -> None:
    # Two hard tasks, two easy ones: arms that differ by little on each differ surely, whatever tasks differ by.
    one = graded({"a": [0.1], "b": [0.2], "c": [0.9], "d": [1.0], "only here": [1.0]})
    other = graded({"d": [0.8], "c": [0.9], "b": [0.1], "a": [0.0]})
    gap = paired(one, other, score=lambda tree: tree.score)
    assert gap.points == pytest.approx(10.0)
    gaps = [10.0, 10.0, 0.0, 20.0]
    assert gap.error == pytest.approx(stdev(gaps) / 2)
    apart = stdev([10.0, 20.0, 90.0, 100.0]) / 2
    assert gap.error < apart / 4
    assert paired(other, one, score=lambda tree: tree.score).points == pytest.approx(-10.0)


def test_epochs_of_a_task_are_one_task_and_a_single_task_tells_nothing() -> None:
    one, other = graded({"a": [1.0, 0.0], "b": [1.0, 1.0]}), graded({"a": [0.0], "b": [0.0, 1.0]})
    assert paired(one, other, score=lambda tree: tree.score) == Gap(50.0, 0.0)
    assert paired(one[:1], other, score=lambda tree: tree.score) == Gap(100.0, 100.0)
    assert paired([], other, score=lambda tree: tree.score) == Gap(0.0, 100.0)


def test_the_difference_of_several_seeds_has_the_error_of_their_mean() -> None:
    rounds = [{"gap": 3.0, "gap_error": 3.0}, {"gap": 1.0, "gap_error": 4.0}]
    assert pooled(rounds, "gap") == Gap(2.0, 2.5)


ARMS = [
    FLAT, POOL, *headline.ARMS.values(), *(treepo._arm(width) for width in treepo.WIDTHS),
    ib_tpo.TREE, ib_tpo.FEW, ib_tpo.MANY, knapsack.FIRST, knapsack.SECOND,
    *(search._arm(recipe, 16) for recipe in ("dora", "rebase", "ets")),
    pruning.ECHO, pruning.HYPER, pruning.HBPO, predictor.ALL,
]  # fmt: skip


@pytest.mark.parametrize("arm", ARMS, ids=lambda arm: arm.name)
def test_arms_are_compared_at_equal_lengths(arm: Arm) -> None:
    settings = {**SHAPE, "recipe": arm.recipe, "leaves": arm.leaves, **arm.settings}
    spec = run_spec("run", parse(RunConfig, settings, "arm"), 100)
    assert spec.segment.boundaries(40, 16, 4096)[-1] == 40 + SHAPE["max_tokens"]


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
        (search.DORA, [{"gap": 0.0, "gap_error": 2.0, "fewer": 4.0}], Verdict.HOLDS),
        (search.DORA, [{"gap": 0.0, "gap_error": 3.0, "fewer": 4.0}], Verdict.UNDECIDED),
        (search.DORA, [{"gap": 0.0, "gap_error": 3.0, "fewer": 4.0}] * 4, Verdict.HOLDS),
        (search.DORA, [{"gap": -9.0, "gap_error": 4.0, "fewer": 4.0}], Verdict.FAILS),
        (search.DORA, [{"gap": 9.0, "gap_error": 1.0, "fewer": 3.0}], Verdict.FAILS),
        (search.BAVT, [{"gap": 10.0, "gap_error": 1.0, "share": 40.0}], Verdict.FAILS),
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
