"""Quarantine: trees that replicas may die of grow apart from the others, until it is known which of them it is.

A replica dies with everything that grows on it, and one tree of that may be the cause. A first time says little: while
others of the pool go on, its trees are spread over them. The trees that were there a second time, or all of them if no
other replica is left that could tell them apart, are suspects: they grow in cells, one cell at a time, on a replica
that has nothing else, the ward. If that dies too, the cell is divided. Only a tree that was alone is ever blamed.
"""

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from treeroll.core.model.fleet import Replica
from treeroll.core.model.live_tree import LiveTree
from treeroll.core.model.work_queue import WorkQueue

# Suspects of one loss are divided in as many cells: fewer, and it takes more replicas to find the one; more, and the
# innocent wait longer. Eight suspects or less grow each by itself.
CELLS = 8


@dataclass(slots=True, eq=False)
class Cell:
    """Suspects that grow together, and their branches that wait for a slot of the ward."""

    trees: dict[str, LiveTree]
    queue: WorkQueue = field(default_factory=WorkQueue)


@dataclass(slots=True)
class Quarantine:
    """The suspects of one pool."""

    # Replicas that died with the tree on them, by tree.
    losses: dict[str, int] = field(default_factory=dict)
    # In turn; only the first one's trees are on the ward. `of` finds a tree's.
    cells: deque[Cell] = field(default_factory=deque)
    of: dict[str, Cell] = field(default_factory=dict)
    # The replica that takes nothing but the first cell: first its branches that run have to end.
    ward: Replica | None = None

    def lost(self, replica: Replica, trees: Sequence[LiveTree], others: bool, max_losses: int) -> LiveTree | None:
        """The replica died with these trees on it. Returns the one that it died of, if there is no doubt.

        `others`: the pool has other replicas. That is the tree that was alone, with `max_losses` replicas lost.
        """
        for live in trees:
            self.losses[live.tree_id] = self.losses.get(live.tree_id, 0) + 1
        apart = replica is self.ward and bool(trees) and all(live.tree_id in self.cells[0].trees for live in trees)
        if replica is self.ward:
            self.ward = None
        if apart:
            if len(trees) == 1 and self.losses[trees[0].tree_id] >= max_losses:
                return trees[0]
            self._isolate(trees, first=True)
            return None
        most = max((self.losses[live.tree_id] for live in trees), default=0)
        suspects = [live for live in trees if self.losses[live.tree_id] == most and live.tree_id not in self.of]
        if suspects and (most > 1 or not others):
            self._isolate(suspects, first=False)
        return None

    def ended(self, tree_id: str) -> None:
        """The tree grows no more."""
        self.losses.pop(tree_id, None)
        if (cell := self.of.pop(tree_id, None)) is not None:
            del cell.trees[tree_id]
            if not cell.trees:
                self.cells.remove(cell)

    def next_cell(self) -> None:
        """Nothing runs on the ward: the next cell that has something to run goes first.

        A cell's trees may wait for what grows in another pool, where they wait for trees of other cells here.
        """
        for _ in range(len(self.cells)):
            if self.cells[0].queue.has_pending:
                return
            self.cells.rotate(-1)

    def gather(self, queues: Iterable[WorkQueue]) -> None:
        """Branches of suspects wait with their cells, not where they were queued before."""
        for queue in queues:
            queue.move(self.of, self._queue_of)

    def _queue_of(self, tree_id: str) -> WorkQueue:
        return self.of[tree_id].queue

    def _isolate(self, trees: Sequence[LiveTree], first: bool) -> None:
        """Divide trees into cells of their own, oldest first, which wait before or behind all others."""
        ordered = sorted(trees, key=lambda live: live.admitted)
        size = -(-len(ordered) // CELLS)
        cells = [Cell({live.tree_id: live for live in ordered[at : at + size]}) for at in range(0, len(ordered), size)]
        for cell in cells:
            for tree_id in cell.trees:
                losses, before = self.losses[tree_id], self.of.get(tree_id)
                self.ended(tree_id)
                self.losses[tree_id], self.of[tree_id] = losses, cell
                if before is not None:
                    before.queue.move((tree_id,), self._queue_of)
        if first:
            self.cells.extendleft(reversed(cells))
        else:
            self.cells.extend(cells)
