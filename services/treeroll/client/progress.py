"""GroupProgress: which trees of a run's feed a group has done, and the state of it that a checkpoint keeps."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from treeroll import ranges
from treeroll.errors import InvalidInput
from treeroll.pb.v1 import rollout_pb2
from treeroll.ranges import Range

STATE_FORMAT = 2

State = dict[str, Any]
"""What a checkpoint keeps of a group: plain numbers, strings and lists, for JSON as well as for pickle."""


@dataclass(frozen=True, slots=True)
class Origin:
    """Whose batch it is."""

    run_id: str
    group: str
    epoch: int
    """How often the group had been moved to a state."""
    rank: int = 0
    world: int = 0
    """Ranks that share it; 0: it is no share."""


@dataclass(slots=True)
class GroupProgress:
    """What a group of a run had acknowledged when this iterator began, and what the iterator has since."""

    run_id: str
    group: str
    run_created: float = 0.0
    """Seconds since the epoch; tells runs of one name apart."""
    epoch: int = 0
    """How often the group was moved to a state."""
    acknowledged: list[Range] = field(default_factory=list)
    steps: int = 0
    """Global batches that ranks have acknowledged."""
    seen: dict[int, int] = field(default_factory=dict)
    """Coordinators, by the epoch under which they own the store -> the last tree of the feed that came from each. When
    a later one finds fewer trees, the store has lost the others, and their places are other trees' from then on."""

    def take(self, position: rollout_pb2.GroupPosition) -> None:
        """Begin where the service says that the group is."""
        self.run_created, self.epoch = position.run_created, position.epoch
        self.acknowledged = [(pair.first, pair.last) for pair in position.acknowledged]
        self.steps = position.steps
        self.seen = {position.owner_epoch: max((last for _, last in self.acknowledged), default=0)}

    def add(self, trees: Sequence[Range], seen: Mapping[int, int], step: int = 0) -> None:
        """These trees, that came from these coordinators, are acknowledged, too, and this global batch."""
        self.acknowledged = ranges.merged([*self.acknowledged, *trees])
        self.seen = {epoch: max(self.seen.get(epoch, 0), seen.get(epoch, 0)) for epoch in {*self.seen, *seen}}
        self.steps = max(self.steps, step)

    def is_older(self, deliveries: Iterable[rollout_pb2.Delivery]) -> bool:
        """Whether one of these is of a coordinator that this has not heard of."""
        return any(delivery.owner_epoch > max(self.seen, default=0) for delivery in deliveries)

    def hear(self, position: rollout_pb2.GroupPosition) -> None:
        """Another coordinator has taken over: whatever the store had lost by then is acknowledged no more."""
        opened = [(mark.owner_epoch, mark.last) for mark in position.opened]
        left = {epoch: min([last, *(n for later, n in opened if later > epoch)]) for epoch, last in self.seen.items()}
        if left != self.seen:
            end = max(left.values())
            self.acknowledged = [(first, min(last, end)) for first, last in self.acknowledged if first <= end]
        self.seen = left | {position.owner_epoch: 0}

    def state(self) -> State:
        """What a checkpoint keeps."""
        return {
            "format": STATE_FORMAT,
            "run": self.run_id,
            "run_created": self.run_created,
            "group": self.group,
            "acknowledged": [list(pair) for pair in self.acknowledged],
            "steps": self.steps,
            "seen": [[epoch, last] for epoch, last in sorted(self.seen.items()) if last],
        }

    def seek(self, state: Mapping[str, Any], move_id: str, *, by_ranks: bool = False) -> rollout_pb2.SeekGroupRequest:
        """Ask for a saved state. InvalidInput for one of another run or group, or for what is none."""
        try:
            form, run_id, group = state["format"], state["run"], state["group"]
            created, steps = float(state["run_created"]), int(state["steps"])
            pairs = [(int(a), int(b)) for a, b in state["acknowledged"]]
            seen = [rollout_pb2.FeedMark(owner_epoch=int(epoch), last=int(last)) for epoch, last in state["seen"]]
        except (KeyError, TypeError, ValueError) as error:
            raise InvalidInput(f"this is no state that batches().state_dict() made: {error!r}") from None
        if form != STATE_FORMAT:
            raise InvalidInput(f"the state has format {form!r}, this version of treeroll reads {STATE_FORMAT}")
        if (run_id, group) != (self.run_id, self.group):
            raise InvalidInput(
                f"the state is of group '{group}' of run '{run_id}', and was given to group '{self.group}' of run "
                f"'{self.run_id}'"
            )
        if wrong := [pair for pair in pairs if not 1 <= pair[0] <= pair[1]]:
            raise InvalidInput(f"the state's 'acknowledged' has {list(wrong[0])}, which is no range of trees")
        acknowledged = [rollout_pb2.SeqRange(first=first, last=last) for first, last in ranges.merged(pairs)]
        return rollout_pb2.SeekGroupRequest(
            run_id=run_id,
            group=group,
            run_created=created,
            acknowledged=acknowledged,
            move_id=move_id,
            steps=steps,
            by_ranks=by_ranks,
            seen=seen,
        )


def last_of_each(deliveries: Iterable[rollout_pb2.Delivery]) -> dict[int, int]:
    """The epochs of the coordinators that these came from -> the last tree of each, as in `GroupProgress.seen`."""
    last: dict[int, int] = {}
    for delivery in deliveries:
        last[delivery.owner_epoch] = max(last.get(delivery.owner_epoch, 0), delivery.delivery_seq)
    return last
