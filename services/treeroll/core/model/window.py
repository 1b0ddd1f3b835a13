"""The order in which trees leave: out of their tasks' order only inside of a window.

Trees that end as they come are the short ones first. Where those that are late are then dropped as stale, long answers
are dropped more often than short ones, and what is left is biased.
"""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from treeroll.core.model.live_tree import LiveTree


@dataclass(slots=True)
class Window:
    """Task n may leave once all before n - size + 1 have: with size 1 strictly in order."""

    size: int
    head: int = 0  # the first task that has not left
    left: set[int] = field(default_factory=set)  # those behind it that have
    held: "dict[int, LiveTree]" = field(default_factory=dict)  # by task: ended, and too far behind the head to leave
    numbers: dict[str, int] = field(default_factory=dict)  # of the held ones, by tree

    def ended(self, number: int, live: "LiveTree", *, at_once: bool) -> "list[LiveTree]":
        """The tree of a task ended. Those that leave now, in order; `at_once`: that one does in any case."""
        self.held[number], self.numbers[live.tree_id] = live, number
        if not at_once and number >= self.head + self.size:
            return []
        leaving = [self._let_go(number)]
        # Each that leaves may move the head on, and so let others leave.
        while (following := min(self.held, default=self.head + self.size)) < self.head + self.size:
            leaving.append(self._let_go(following))
        return leaving

    def let_go(self, tree_id: str) -> "list[LiveTree]":
        """Somebody waits for this tree by name: it leaves, if it is held, and whatever may do so then."""
        number = self.numbers.get(tree_id)
        return [] if number is None else self.ended(number, self.held[number], at_once=True)

    def _let_go(self, number: int) -> "LiveTree":
        live = self.held.pop(number)
        del self.numbers[live.tree_id]
        self.left.add(number)
        while self.head in self.left:
            self.left.remove(self.head)
            self.head += 1
        return live
