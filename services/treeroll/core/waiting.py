"""A run's tasks that have no tree yet."""

from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from treeroll.core.run import TaskSpec


@dataclass(slots=True)
class Waiting:
    """Tasks in order. A route has sent some of them to a model: they wait for it, the others for whoever asks first."""

    open: deque["TaskSpec"] = field(default_factory=deque)
    sent: dict[str, deque["TaskSpec"]] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.open) + sum(map(len, self.sent.values())) if self.sent else len(self.open)

    def append(self, task: "TaskSpec") -> None:
        """A task came."""
        self.open.append(task)

    def send(self, task: "TaskSpec", model: str) -> None:
        """From now on the task waits for this model."""
        self.sent.setdefault(model, deque()).append(task)

    def may_have(self, model: str) -> bool:
        """Whether a task is here that waits for the model, or may do so."""
        return bool(self.open or self.sent.get(model))

    def take(self, model: str) -> "TaskSpec | None":
        """The next task that waits for the model, or else for anybody."""
        queue = self.sent.get(model) or self.open
        return queue.popleft() if queue else None

    def take_any(self) -> "TaskSpec":
        """The next task of all. Only while there is one."""
        return next(queue for queue in (self.open, *self.sent.values()) if queue).popleft()
