"""Virtual time: a number that jumps to whatever is due next. Nothing sleeps."""

import heapq
from collections.abc import Callable
from dataclasses import dataclass, field

Action = Callable[[float], None]
"""What happens; its argument is the time, in virtual seconds."""


@dataclass(slots=True)
class EventQueue:
    """Actions by due time; those due at the same time happen in the order they were added."""

    now: float = 0.0
    _heap: list[tuple[float, int, Action]] = field(default_factory=list)
    _added: int = 0

    def at(self, time: float, action: Action) -> None:
        """Let an action happen at a time that is not past."""
        self._added += 1
        heapq.heappush(self._heap, (time, self._added, action))

    def stop(self) -> None:
        """Nothing that is planned happens any more."""
        self._heap.clear()

    def run(self, most: int) -> bool:
        """Let the next actions happen, at most so many. Whether there are more."""
        heap, pop = self._heap, heapq.heappop
        for _ in range(most):
            if not heap:
                return False
            self.now, _, action = pop(heap)
            action(self.now)
        return bool(heap)
