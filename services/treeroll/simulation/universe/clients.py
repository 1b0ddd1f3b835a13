"""Who submits work to a universe."""

from typing import TYPE_CHECKING, Any

from google.protobuf.message import Message

from treeroll.core.model.run import TaskSpec
from treeroll.errors import Drained, RunClosed, UnknownRun
from treeroll.pb.v1 import rollout_pb2 as api
from treeroll.simulation.universe.requests import Request
from treeroll.simulation.universe.surroundings import Aborted, refused

if TYPE_CHECKING:
    from treeroll.simulation.universe.universe import Universe

Step = tuple[str, Message]
AGAIN_S = 1.0


class Submitter:
    """Creates the run, submits its tasks in parts, and closes it. What it was told is done it never repeats."""

    def __init__(self, universe: "Universe", config_json: str, tasks: list[TaskSpec]) -> None:
        self.done = False
        self.accepted: set[str] = set()
        """Trees of tasks that were taken: they are promised."""
        self._request: Request | None = None
        run_id = universe.spec.run_id
        self._universe = universe
        self._all: list[Step] = [("CreateRun", api.CreateRunRequest(run_id=run_id, config_json=config_json))]
        for epoch in sorted({task.epoch for task in tasks}):
            rows = [_row(task) for task in tasks if task.epoch == epoch]
            half = (len(rows) + 1) // 2
            parts = [part for part in (rows[:half], rows[half:]) if part]
            self._all += [
                ("SubmitTasks", api.SubmitTasksRequest(run_id=run_id, epoch=epoch, tasks=part)) for part in parts
            ]
        self._all.append(("CloseRun", api.CloseRunRequest(run_id=run_id)))
        self._begin()

    def _begin(self) -> None:
        self._steps = list(self._all)
        self._next()

    def again(self) -> None:
        """The service has lost what it had answered for, and says so: whoever submitted submits again."""
        self.done = False
        self.accepted.clear()
        if self._request is not None:
            self._request.forsake()
        self._begin()

    def _next(self) -> None:
        if not self._steps:
            self.done = True
            return
        self._request = Request(self._universe, *self._steps[0], self._answered)

    def _answered(self, got: Any, error: Aborted | None) -> None:
        if error is not None and refused(error, UnknownRun) and self._universe.store.lost_at is not None:
            self._begin()
            return
        if error is not None and refused(error, Drained):
            self._universe.after(AGAIN_S, self._repeat, self._request)
            return
        if error is not None and not refused(error, RunClosed):  # by time, or by a request that was thought lost
            self._universe.found("Answered", f"who submits is told {error}")
            return
        _, message = self._steps.pop(0)
        if error is None and isinstance(message, api.SubmitTasksRequest):
            self.accepted |= set(got.tree_ids)
        self._next()

    def _repeat(self, refused: Request) -> None:
        if self._request is refused:  # or everything is submitted again
            self._next()


def _row(task: TaskSpec) -> api.Task:
    return api.Task(task_id=task.task_id, prompt_ids=task.prompt_ids, answer=task.answer)
