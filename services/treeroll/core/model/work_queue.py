"""Branches that wait for a slot."""

import heapq
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

    def __len__(self) -> int:
        return len(self.heap)
