"""What a store that went back in time has lost: the runs as they were acknowledged beside what is there."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from treeroll.core.model.run import RunState
from treeroll.pb.v1 import rollout_pb2 as api
from treeroll.store.base import Store


@dataclass(frozen=True, slots=True)
class Loss:
    """What is gone of a run."""

    run_id: str
    owner: str
    whole: bool
    """Nothing is there of it."""
    tasks: int
    trees: int
    """That had ended."""
    tokens: int
    """That were spent on it."""
    state: str
    """Open, closed or cancelled, as its clients knew it."""

    def __str__(self) -> str:
        whole = "all" if self.whole else "part"
        return f"{whole} of run '{self.run_id}' ({self._figures()})"

    def _figures(self) -> str:
        return f"{self.tasks} tasks, {self.trees} trees that had ended, {self.tokens} tokens"

    def told(self) -> str:
        """One sentence, for who asks for the run."""
        if self.whole:
            return (
                f"the store was emptied, or put back to an older state, and lost all of run '{self.run_id}' "
                f"({self._figures()}): create it again, and submit its tasks"
            )
        return f"the store was put back to an older state, and lost part of run '{self.run_id}' ({self._figures()})"

    def missing(self) -> str:
        """What only who submitted can bring back, as a sentence; "" if nothing."""
        if self.whole or not self.tasks or self.state == RunState.CANCELLED:
            return ""
        return f"{self.told()}: submit its tasks again (those that it has do not grow twice), and close it"


@dataclass(slots=True)
class Losses:
    """All that was lost since the service started, by run: the latest, and how much in all."""

    times: int = 0
    """How often the store went back."""
    runs: dict[str, Loss] = field(default_factory=dict)
    tasks: int = 0
    trees: int = 0
    tokens: int = 0

    def add(self, found: list[Loss]) -> None:
        """The store went back once more."""
        self.times += 1
        for loss in found:
            self.runs[loss.run_id] = loss
            self.tasks, self.trees, self.tokens = (
                self.tasks + loss.tasks, self.trees + loss.trees, self.tokens + loss.tokens
            )  # fmt: skip


async def what_is_gone(store: Store, acknowledged: Mapping[str, bytes]) -> list[Loss]:
    """Of all runs whose last acknowledged record is not what the store has."""
    found = []
    for run_id, record in sorted(acknowledged.items()):
        stored = await store.load_run(run_id)
        if stored != record:
            found.append(_loss(api.Run.FromString(record), stored))
    return found


def _loss(had: api.Run, record: bytes | None) -> Loss:
    has = api.Run() if record is None else api.Run.FromString(record)
    return Loss(
        had.run_id,
        had.owner,
        record is None,
        had.submitted - has.submitted,
        _ended(had) - _ended(has),
        had.ledger.spent - has.ledger.spent,
        had.state,
    )


def _ended(run: api.Run) -> int:
    return run.finished + run.failed + sum(run.filtered.values())
