"""What a directory holds already: for `--resume`."""

from dataclasses import dataclass, field

from treeroll.results.directory import EVERY_KIND, ResultDir
from treeroll.results.reader import ResultReader
from treeroll.results.record import RunRecord
from treeroll.results.session import Sessions

COMPLETE = "complete"


@dataclass(slots=True)
class Written:
    """Ids of what is on the disk."""

    trees: set[str] = field(default_factory=set)
    done: set[str] = field(default_factory=set)
    """Tasks with a complete tree. One with another is grown again."""

    def add(self, task_id: str, tree_id: str, status: str) -> None:
        """Note a tree."""
        self.trees.add(tree_id)
        if status == COMPLETE:
            self.done.add(task_id)


@dataclass(slots=True)
class Earlier:
    """What earlier sessions left."""

    record: RunRecord | None = None
    written: Written = field(default_factory=Written)
    sessions: Sessions = field(default_factory=dict)
    next_part: int = 0

    @classmethod
    def of(cls, directory: ResultDir) -> "Earlier":
        """Read it. Nothing for a directory that no rollout has written to."""
        if not directory.holds_results():
            return cls()
        reader = ResultReader(directory)
        written = Written()
        for row in reader.rows("trees", ("task_id", "tree_id", "status")):
            written.add(row["task_id"], row["tree_id"], row["status"])
        used = [index + 1 for kind in EVERY_KIND for index in directory.part_indices(kind)]
        next_part = max([*used, *(reader.next_part(kind) for kind in EVERY_KIND)])
        return cls(RunRecord.read(directory.run), written, reader.sessions(), next_part)
