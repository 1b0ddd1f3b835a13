"""Who gets a free slot."""

import struct

import pytest

from treeroll.core.effects import StartBranch
from treeroll.core.events import ReplicaHeard, ReplicaJoined, RunCreated, TasksSubmitted
from treeroll.core.run import RunSpec, Sampling, TaskSpec
from treeroll.core.state import CoreSettings, State
from treeroll.core.step import step
from treeroll.policies import registry
from treeroll.policies.base import Limits
from treeroll.policies.build import build_policies


def run_of(run_id: str, recipe: str, leaves: int) -> RunCreated:
    limits = Limits(leaves, 32, 4, 128)
    made = build_policies(recipe, limits, {})
    return RunCreated(RunSpec(run_id, "{}", 7, 128, Sampling(), made.segment, made.branch, made.prune, made.advantage))


def plant(state: State, run_id: str, tree_id: str) -> list[StartBranch]:
    task = TaskSpec(tree_id, 0, tree_id, struct.pack("<5i", *range(5)), "", "d")
    return [effect for effect in step(state, TasksSubmitted(run_id, [task]), 0.0) if isinstance(effect, StartBranch)]


def fleet(placement: str, leaves: int, **params: object) -> State:
    """One replica of 8 slots with one tree of so many branches, all at its prompt."""
    state = State(CoreSettings(registry.build("placement", placement, params, Limits(leaves, 32, 4, 128))))
    step(state, ReplicaJoined("r0", 1, 8, 16, 4096), 0.0)
    step(state, run_of("run", "flat", leaves), 0.0)
    plant(state, "run", "tree")
    return state


def starts_at_a_new_replica(state: State) -> list[StartBranch]:
    return [
        effect for effect in step(state, ReplicaJoined("r1", 1, 8, 16, 4096), 0.0) if isinstance(effect, StartBranch)
    ]


@pytest.mark.parametrize(
    ("leaves", "taken"),
    [
        (8, 0),  # nothing waits
        (12, 4),  # all that wait: the last of them by 9 against 3, still above half of the slots
        (20, 8),  # as many as there are slots
    ],
)
def test_an_idle_replica_takes_from_one_that_leads_by_far(leaves: int, taken: int) -> None:
    starts = starts_at_a_new_replica(fleet("parent_affinity", leaves))
    assert [start.replica_id for start in starts] == ["r1"] * taken


def test_near_balance_branches_wait_where_their_prefix_is() -> None:
    assert not starts_at_a_new_replica(fleet("parent_affinity", 9, steal_margin=1.2))
    assert not starts_at_a_new_replica(fleet("parent_affinity", 20, steal_margin=None))


def test_a_branch_that_moves_gets_its_prefix_whole() -> None:
    moved, *others = starts_at_a_new_replica(fleet("parent_affinity", 20))
    assert (moved.prefix_grant, len(moved.prefix_ids) // 4, moved.prefix_tokens) == (0, 5, 5)
    # The copies that follow it find the prompt in what their replica has by then.
    assert {(start.prefix_grant, start.prefix_ids) for start in others} == {(moved.grant, b"")}


def test_a_new_tree_goes_where_the_fewest_leaves_are_still_to_come() -> None:
    state = State(CoreSettings(registry.build("placement", "parent_affinity", {}, Limits(1, 32, 4, 128))))
    for name in ("r0", "r1"):
        step(state, ReplicaJoined(name, 1, 8, 16, 4096), 0.0)
    step(state, run_of("huge", "treepo", 12), 0.0)
    step(state, run_of("small", "treepo", 4), 0.0)
    homes = [plant(state, run, f"{run} {number}") for number, run in enumerate(["huge", *["small"] * 6])]
    # Each takes two slots at first. Its twelve leaves count against r0 from the start; then slots decide.
    assert [[start.replica_id for start in starts] for starts in homes] == [
        ["r0"] * 2, *[["r1"] * 2] * 3, ["r0"] * 2, ["r1"] * 2, ["r0"] * 2,
    ]  # fmt: skip


def test_a_new_tree_waits_until_its_replica_has_room_for_kv() -> None:
    state = fleet("parent_affinity", 4)
    step(state, ReplicaHeard("r0", 1, 0.81), 0.0)
    assert plant(state, "run", "second") == []
    starts = [effect for effect in step(state, ReplicaHeard("r0", 1, 0.8), 0.0) if isinstance(effect, StartBranch)]
    assert [start.tree_id for start in starts] == ["second"] * 4
