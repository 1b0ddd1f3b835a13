"""Who gets a free slot."""

import struct

import pytest

from treeroll.core.model.effects import StartBranch
from treeroll.core.model.events import ReplicaHeard, ReplicaJoined, RunCreated, TasksSubmitted
from treeroll.core.model.run import RunSpec, TaskSpec
from treeroll.core.model.state import CoreSettings, State
from treeroll.core.step import step
from treeroll.policies import registry
from treeroll.policies.resolve import build_policies
from treeroll.policy.base import Limits
from treeroll.sampling import Sampling


def fleet(placement: str, leaves: int, **params: object) -> State:
    """One replica of 8 slots with one tree of so many branches, all at its prompt."""
    limits = Limits(leaves, 32, 4, 128)
    place = registry.build("placement", placement, params, limits)
    state = State(CoreSettings(place))
    made = build_policies("flat", limits, {})
    spec = RunSpec("run", "{}", 7, 128, Sampling(), made.segment, made.branch, made.prune, made.advantage)
    step(state, ReplicaJoined("r0", 1, 8, 16, 4096), 0.0)
    step(state, RunCreated(spec), 0.0)
    step(state, TasksSubmitted("run", [TaskSpec("t", 0, "tree", struct.pack("<5i", *range(5)), "", "d")]), 0.0)
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


def test_a_new_tree_waits_until_its_replica_has_room_for_kv() -> None:
    state = fleet("parent_affinity", 4)
    step(state, ReplicaHeard("r0", 1, 0.81), 0.0)
    task = TaskSpec("u", 0, "second", struct.pack("<5i", *range(5)), "", "d")
    assert [
        effect for effect in step(state, TasksSubmitted("run", [task]), 0.0) if isinstance(effect, StartBranch)
    ] == []
    starts = [effect for effect in step(state, ReplicaHeard("r0", 1, 0.8), 0.0) if isinstance(effect, StartBranch)]
    assert [start.tree_id for start in starts] == ["second"] * 4
