"""What is known of tasks from before: how often their leaves succeeded, less the more epochs and weights ago it was."""

from dataclasses import dataclass, field, replace
from typing import NamedTuple

from treeroll.errors import InvalidInput


class Counts(NamedTuple):
    """`successes` of `scored` leaves succeeded, and their trees took `tokens` generated tokens."""

    successes: float = 0.0
    scored: float = 0.0
    tokens: float = 0.0


@dataclass(frozen=True, slots=True)
class Record:
    """Counts, as they count in `epoch` and under weights `version`."""

    successes: float
    scored: float
    epoch: int
    tokens: float = 0.0
    version: int = 0

    def at(self, epoch: int, version: int, decay: "Decay") -> "Record":
        """The record as it counts later: less for each epoch and each version in between."""
        share = decay.epoch ** max(0, epoch - self.epoch) * decay.version ** max(0, version - self.version)
        epoch, version = max(epoch, self.epoch), max(version, self.version)
        return Record(self.successes * share, self.scored * share, epoch, self.tokens * share, version)

    def written(self) -> str:
        """The record as text, for the store."""
        return f"{self.successes!r} {self.scored!r} {self.epoch} {self.tokens!r} {self.version}"

    @classmethod
    def read(cls, text: str) -> "Record":
        """Read a record of the store, where earlier ones have no tokens, or no version."""
        successes, scored, epoch, *rest = text.split()
        tokens = float(rest[0]) if rest else 0.0
        return cls(float(successes), float(scored), int(epoch), tokens, int(rest[1]) if len(rest) > 1 else 0)


class Decay(NamedTuple):
    """What counts still count one epoch later, and one version of weights later; from 0 (nothing) to 1 (all alike)."""

    epoch: float = 0.5
    version: float = 1.0


@dataclass(slots=True)
class History:
    """Records of a run's tasks by task id."""

    decay: Decay = field(default_factory=Decay)
    records: dict[str, Record] = field(default_factory=dict)

    def of(self, task_id: str, epoch: int, version: int = 0) -> Counts:
        """Successes and scored leaves so far, as they count in this epoch and under these weights; 0 of 0 without."""
        known = self.records.get(task_id)
        if known is None:
            return Counts()
        counted = known.at(epoch, version, self.decay)
        return Counts(counted.successes, counted.scored, counted.tokens)

    def add(self, task_id: str, epoch: int, successes: int, scored: int, tokens: int, version: int = 0) -> Record:
        """Count a tree that ended. Trees of earlier epochs that end late count in the latest one."""
        known = self.records.get(task_id)
        before = known.at(epoch, version, self.decay) if known else Record(0.0, 0.0, epoch, 0.0, version)
        record = Record(
            before.successes + successes, before.scored + scored, before.epoch, before.tokens + tokens, before.version
        )
        self.records[task_id] = record
        return record

    @classmethod
    def taken_over(cls, stored: dict[str, str], decay: Decay, where: str) -> "History":
        """Another run's records, as those of an epoch before the first. InvalidInput without any."""
        if not stored:
            raise InvalidInput(f"{where}: it has no success history: no tree of it has been scored for an allocator")
        read = {task_id: Record.read(text) for task_id, text in stored.items()}
        latest = max(record.epoch for record in read.values())
        counted = {task_id: record.at(latest, record.version, decay) for task_id, record in read.items()}
        return cls(decay, {task_id: replace(record, epoch=-1) for task_id, record in counted.items()})
