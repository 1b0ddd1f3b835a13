"""What both stores say when they refuse: one sentence each."""

from treeroll.errors import GroupMoved, InvalidInput, ShareConflict, StoreError
from treeroll.ranges import Range, count


def late_group(run_id: str, group: str, expired: int) -> InvalidInput:
    """The error for a group that would begin after trees have expired."""
    return InvalidInput(
        f"group '{group}' is new to run '{run_id}', and {expired} of its trees have expired: a group must begin before "
        "that, or with start='latest'; see store.keep_acknowledged_s"
    )


def many_groups(run_id: str, group: str, groups: int) -> InvalidInput:
    """The error for one group too many."""
    return InvalidInput(
        f"group '{group}' is new to run '{run_id}', which has {groups} groups, as many as a run may have: trainers "
        "that share the trees of a run are consumers of one group"
    )


def moved_group(run_id: str, group: str, epoch: int) -> GroupMoved:
    """The error for leases of an earlier epoch than the group's."""
    return GroupMoved(
        f"group '{group}' of run '{run_id}' went to a saved state (epoch {epoch}) after this trainer got its trees: "
        "another trainer has taken over, so stop this one, or start it again from the newest checkpoint"
    )


def beyond_feed(run_id: str, group: str, last: int, entries: int) -> InvalidInput:
    """The error for a state that names trees which the feed does not have."""
    return InvalidInput(
        f"the state of group '{group}' names tree {last} of the feed of run '{run_id}', which has {entries}: it is not "
        "of this run, or the store has lost what it was saved of"
    )


def lost_entries(run_id: str, group: str, last: int, left: int) -> InvalidInput:
    """The error for a state that names places in the feed of trees which the store has lost."""
    return InvalidInput(
        f"the state of group '{group}' names tree {last} of the feed of run '{run_id}', and the store has lost all "
        f"after tree {left} since then: other trees have these places now, so load a checkpoint that names none after "
        f"{left}, or go on without a state from what the group has acknowledged in the store"
    )


def expired_state(run_id: str, group: str, expired: int, missing: list[Range]) -> InvalidInput:
    """The error for a state after which trees would come again that have expired."""
    return InvalidInput(
        f"the state of group '{group}' does not name {count(missing)} of the first {expired} trees of run '{run_id}', "
        f"from tree {missing[0][0]} on, and these have expired: start from a newer checkpoint, or add [1, {expired}] "
        "to its 'acknowledged' to go on without them; see store.keep_acknowledged_s"
    )


def step_is_done(run_id: str, group: str, step: int) -> InvalidInput:
    """The error for a global batch that is acknowledged, and needs no ranks any more."""
    return InvalidInput(
        f"all ranks have acknowledged step {step} of group '{group}' of run '{run_id}': to have its trees again, load "
        "the state of a checkpoint from before it"
    )


def step_too_far(run_id: str, group: str, step: int, last: int) -> InvalidInput:
    """The error for a global batch after one that was not taken."""
    return InvalidInput(
        f"step {step} of group '{group}' of run '{run_id}' was asked for, and the last one that was taken is {last}: "
        "ranks take one step after the other"
    )


def shared_otherwise(run_id: str, group: str, step: int, world: int, there: int) -> ShareConflict:
    """The error for a share of a batch that other ranks have shares of."""
    return ShareConflict(
        f"step {step} of group '{group}' of run '{run_id}' is shared by {there} ranks, not by {world}: start all ranks "
        "from the newest checkpoint's state"
    )


def missing_node(tree_id: str, number: int) -> StoreError:
    """The error for a node that is asked for and is not there."""
    return StoreError(f"node {number} of tree {tree_id} is not in the store")
