"""Positions of groups, as they travel."""

from treeroll import ranges
from treeroll.core.model.run import Outlook
from treeroll.errors import InvalidInput, Unavailable
from treeroll.pb.v1 import rollout_pb2 as api
from treeroll.store.base import GroupPosition, Move

# Each tree that a state leaves out before the last it names is an entry of its own in the store.
MAX_LEFT_OUT = 100_000
MAX_MOVE_ID = 64
# Coordinators that a state may name: each is a start of the service since its run began.
MAX_SEEN = 10_000


def check_known(run_id: str, last: int, outlook: Outlook) -> None:
    """Unavailable if the store's feed goes on to a tree that its owner would know of: another has taken over.

    Whatever came under that one would be marked as of this one, and states with it be refused as if it had been lost.
    """
    if last > outlook.ended:
        raise Unavailable(
            f"another coordinator has taken over: run '{run_id}' has a tree {last}, and this one knows of "
            f"{outlook.ended}; ask again"
        )


def message(position: GroupPosition, run_created: float, owner_epoch: int) -> api.GroupPosition:
    """A position on the wire; `run_created` in seconds since the epoch."""
    acknowledged = [api.SeqRange(first=first, last=last) for first, last in position.acknowledged]
    return api.GroupPosition(
        run_created=run_created,
        epoch=position.epoch,
        acknowledged=acknowledged,
        steps=position.steps,
        steps_out=position.steps_out,
        owner_epoch=owner_epoch,
        opened=[api.FeedMark(owner_epoch=epoch, last=entries) for epoch, entries in position.opened],
    )


def move_of(request: api.SeekGroupRequest, run_created: float) -> Move:
    """What is asked for, if it can be of this run. InvalidInput names what is wrong."""
    state = f"the state of group '{request.group}'"
    if request.run_created != run_created:
        raise InvalidInput(
            f"{state} was saved of another run '{request.run_id}': that one was created at {request.run_created:.3f} s "
            f"since the epoch, this one at {run_created:.3f}"
        )
    named = [(pair.first, pair.last) for pair in request.acknowledged]
    if not ranges.is_set(named):
        raise InvalidInput(f"{state} names trees in ranges that overlap, touch or do not ascend: {named[:5]} ...")
    left_out = ranges.count(ranges.missing(named, named[-1][1])) if named else 0
    if left_out > MAX_LEFT_OUT:
        raise InvalidInput(f"{state} leaves out {left_out} trees before the last it names; {MAX_LEFT_OUT} are allowed")
    if not 1 <= len(request.move_id) <= MAX_MOVE_ID:
        raise InvalidInput(f"a move needs an id of 1 to {MAX_MOVE_ID} characters, got {len(request.move_id)}")
    if len(request.seen) > MAX_SEEN:
        raise InvalidInput(f"{state} names {len(request.seen)} coordinators; {MAX_SEEN} are allowed")
    seen = [(mark.owner_epoch, mark.last) for mark in request.seen]
    return Move(named, request.move_id, request.steps, request.by_ranks, seen)
