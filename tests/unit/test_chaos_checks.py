"""What chaos holds against the evidence of a run: each broken promise is found, and a whole run has none."""

from collections import Counter
from collections.abc import Callable
from dataclasses import replace

import pytest

from treeroll.chaos.checks import Evidence, findings
from treeroll.chaos.trainer_log import Told
from treeroll.client.status import RunStatus
from treeroll.pb.v1 import common_pb2
from treeroll.pb.v1 import rollout_pb2 as api

ROWS = {"a": {"": "credit", "0": "x", "1": "y"}, "b": {"": "credit", "0": "z"}}


def told(kind: str, at_s: float, tree: str, task: str = "", **more: object) -> Told:
    return Told(kind, [tree], task, at_s=at_s, **more)  # type: ignore[arg-type]


def delivered(at_s: float, task: str, **more: object) -> Told:
    return told("delivered", at_s, f"tree-{task}", task, **{"rows": ROWS[task], "spent": 10, "number": 1, **more})


def evidence() -> Evidence:
    """Two trainers, two trees; one tree came twice, because its first consumer died before it said so."""
    ledger = common_pb2.Ledger(granted=25, spent=20, returned=5)
    run = api.Run(run_id="run", state="closed", submitted=2, finished=2, ledger=ledger)
    logs = [
        [delivered(1.0, "a"), delivered(2.0, "b"), told("acknowledged", 3.0, "tree-b")],
        [delivered(4.0, "a", number=2), told("acknowledged", 5.0, "tree-a")],
    ]
    feed = Counter({"tree-a": 1, "tree-b": 1})
    return Evidence(["a", "b"], logs, RunStatus.from_proto(run), feed, 2, ROWS)


def test_a_run_that_kept_every_promise_has_no_finding() -> None:
    assert list(findings(evidence())) == []


def test_a_trainer_that_was_stopped_may_write_late_what_it_got_before_the_acknowledgement() -> None:
    found = evidence()
    found.logs[0] = [*found.logs[0][1:], delivered(9.0, "a"), told("refused", 9.5, "tree-a")]
    assert list(findings(found)) == []


def came_again(found: Evidence) -> None:
    found.logs[1].append(delivered(6.0, "b", number=2))


def came_under_the_same_number(found: Evidence) -> None:
    found.logs[1].append(delivered(6.0, "b"))


def never_came(found: Evidence) -> None:
    del found.logs[0][1:]


def came_changed(found: Evidence) -> None:
    found.logs[0][0] = delivered(1.0, "a", rows=ROWS["b"])


def a_token_differs(found: Evidence) -> None:
    found.undisturbed = {**ROWS, "b": {**ROWS["b"], "0": "other"}}


def a_node_is_missing(found: Evidence) -> None:
    found.undisturbed = {**ROWS, "b": {**ROWS["b"], "1": "more"}}


def ended_twice(found: Evidence) -> None:
    found.feed["tree-a"] += 1


def was_not_written(found: Evidence) -> None:
    del found.feed["tree-b"]


def tokens_are_missing(found: Evidence) -> None:
    found.status.ledger.spent, found.status.ledger.returned = 19, 6


def tokens_are_outstanding(found: Evidence) -> None:
    found.status.ledger.outstanding = 1


def failed(found: Evidence) -> None:
    found.logs[0][1] = told("failed", 2.0, "tree-b", "b", why="engines died")


def still_grows(found: Evidence) -> None:
    found.status.growing, found.status.finished = 1, 1


def audited(found: Evidence) -> None:
    found.audit = ["TreeWellFormed: a node has two parents"]


def an_acknowledgement_was_lost(found: Evidence) -> None:
    found.acknowledged = 1


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (came_again, "1 came again after they were acknowledged: tree-b"),
        (came_under_the_same_number, "1 had one delivery twice: tree-b"),
        (never_came, "1 never reached a trainer: b"),
        (came_changed, "1 came again as another tree: a"),
        (a_token_differs, "1 are not as in an undisturbed run of the same seed: b (node 0 differs)"),
        (a_node_is_missing, "1 are not as in an undisturbed run of the same seed: b (node 1 is missing)"),
        (ended_twice, "1 ended more than once: tree-a"),
        (was_not_written, "1 were acknowledged, and are not in the feed: tree-b"),
        (tokens_are_missing, "the trees that came spent 20 tokens, the run 19"),
        (tokens_are_outstanding, "granted 25 is not spent 20 + returned 5, or 1 are outstanding"),
        (failed, "1 ended without a sample: b (engines died)"),
        (still_grows, "the run did not end: 0 tasks wait and 1 grow"),
        (audited, "TreeWellFormed: a node has two parents"),
        (an_acknowledgement_was_lost, "of 2 ended trees 2 reached a trainer, and the store has 1 as acknowledged"),
    ],
    ids=lambda value: value.__name__ if callable(value) else "",
)
def test_a_broken_promise_is_found_and_named(spoil: Callable[[Evidence], None], said: str) -> None:
    found = evidence()
    spoil(found)
    assert said in list(findings(found))


def test_few_of_many_cases_are_named() -> None:
    found = replace(evidence(), tasks=[*"abcdefg"])
    assert "5 never reached a trainer: c, d, e, ..." in list(findings(found))
