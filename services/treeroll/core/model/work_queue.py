"""Branches that wait for a slot."""

import heapq
from collections.abc import Callable, Container
from dataclasses import dataclass, field

from treeroll.core.model.branch import Branch, BranchState
from treeroll.core.model.live_tree import LiveTree


@dataclass(slots=True)
class WorkQueue:
    """Branches waiting for a slot: deepest first, then oldest tree. Entries that are no longer pending are skipped."""

    heap: list[tuple[int, int, int, LiveTree, Branch]] = field(default_factory=list)

    def push(self, live: LiveTree, branch: Branch, order: int) -> None:
        """Add a pending branch; `order` breaks ties and must be unique."""
        heapq.heappush(self.heap, (-branch.depth, order, branch.number, live, branch))

    def pop(self) -> tuple[LiveTree, Branch] | None:
        """Next pending branch, or None."""
        while self.heap:
            *_, live, branch = heapq.heappop(self.heap)
            if branch.state is BranchState.PENDING:
                return live, branch
        return None

    def move(self, trees: Container[str], to: Callable[[str], "WorkQueue"]) -> None:
        """Put the branches of these trees into the queues that are theirs."""
        kept = [entry for entry in self.heap if entry[-2].tree_id not in trees]
        for entry in self.heap if len(kept) < len(self.heap) else ():
            if entry[-2].tree_id in trees:
                heapq.heappush(to(entry[-2].tree_id).heap, entry)
        heapq.heapify(kept)
        self.heap = kept

    @property
    def has_pending(self) -> bool:
        """Whether `pop` would give a branch."""
        return any(entry[-1].state is BranchState.PENDING for entry in self.heap)

    def __len__(self) -> int:
        return len(self.heap)
