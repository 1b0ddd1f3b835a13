"""What is known of tasks from epochs before: how often their leaves succeeded, less the longer ago it was."""

from dataclasses import dataclass, field
from typing import NamedTuple

from treeroll.errors import InvalidInput


class Counts(NamedTuple):
    """`successes` of `scored` leaves succeeded, and their trees took `tokens` generated tokens."""

    successes: float = 0.0
    scored: float = 0.0
    tokens: float = 0.0


@dataclass(frozen=True, slots=True)
class Record:
    """Counts, as they count in `epoch`."""

    successes: float
    scored: float
    epoch: int
    tokens: float = 0.0

    def at(self, epoch: int, decay: float) -> "Record":
        """The record as it counts in an epoch: `decay` times as much for each epoch in between."""
        share = decay ** max(0, epoch - self.epoch)
        return Record(self.successes * share, self.scored * share, max(epoch, self.epoch), self.tokens * share)

    def written(self) -> str:
        """The record as text, for the store."""
        return f"{self.successes!r} {self.scored!r} {self.epoch} {self.tokens!r}"

    @classmethod
    def read(cls, text: str) -> "Record":
        """Read a record of the store, where the first version wrote no tokens."""
        successes, scored, epoch, *tokens = text.split()
        return cls(float(successes), float(scored), int(epoch), *map(float, tokens))


@dataclass(slots=True)
class History:
    """Records of a run's tasks by task id. They decay by `decay` per epoch, from 0 (only the last) to 1 (all alike)."""

    decay: float = 0.5
    records: dict[str, Record] = field(default_factory=dict)

    def of(self, task_id: str, epoch: int) -> Counts:
        """Successes and scored leaves of the epochs so far, as they count in this one; 0 of 0 without any."""
        known = self.records.get(task_id)
        if known is None:
            return Counts()
        counted = known.at(epoch, self.decay)
        return Counts(counted.successes, counted.scored, counted.tokens)

    def add(self, task_id: str, epoch: int, successes: int, scored: int, tokens: int) -> Record:
        """Count a tree that ended. Trees of earlier epochs that end late count in the latest one."""
        before, known = self.of(task_id, epoch), self.records.get(task_id)
        latest = max(epoch, known.epoch) if known else epoch
        record = Record(before.successes + successes, before.scored + scored, latest, before.tokens + tokens)
        self.records[task_id] = record
        return record

    @classmethod
    def taken_over(cls, stored: dict[str, str], decay: float, where: str) -> "History":
        """Another run's records, as those of an epoch before the first. InvalidInput without any."""
        if not stored:
            raise InvalidInput(f"{where}: it has no success history: no tree of it has been scored for an allocator")
        read = {task_id: Record.read(text) for task_id, text in stored.items()}
        latest = max(record.epoch for record in read.values())
        counted = {task_id: record.at(latest, decay) for task_id, record in read.items()}
        return cls(decay, {name: Record(one.successes, one.scored, -1, one.tokens) for name, one in counted.items()})
