"""GroupProgress: which trees of a run's feed a group has done, and the state of it that a checkpoint keeps."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from treeroll import ranges
from treeroll.errors import InvalidInput
from treeroll.pb.v1 import rollout_pb2
from treeroll.ranges import Range

STATE_FORMAT = 1

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

    def take(self, position: rollout_pb2.GroupPosition) -> None:
        """Begin where the service says that the group is."""
        self.run_created, self.epoch = position.run_created, position.epoch
        self.acknowledged = [(pair.first, pair.last) for pair in position.acknowledged]
        self.steps = position.steps

    def add(self, trees: Sequence[Range], step: int = 0) -> None:
        """These trees are acknowledged, too, and this global batch."""
        self.acknowledged = ranges.merged([*self.acknowledged, *trees])
        self.steps = max(self.steps, step)

    def state(self) -> State:
        """What a checkpoint keeps."""
        return {
            "format": STATE_FORMAT,
            "run": self.run_id,
            "run_created": self.run_created,
            "group": self.group,
            "acknowledged": [list(pair) for pair in self.acknowledged],
            "steps": self.steps,
        }

    def seek(self, state: Mapping[str, Any], move_id: str, *, by_ranks: bool = False) -> rollout_pb2.SeekGroupRequest:
        """Ask for a saved state. InvalidInput for one of another run or group, or for what is none."""
        try:
            form, run_id, group = state["format"], state["run"], state["group"]
            created, steps = float(state["run_created"]), int(state["steps"])
            pairs = [(int(a), int(b)) for a, b in state["acknowledged"]]
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
        )
