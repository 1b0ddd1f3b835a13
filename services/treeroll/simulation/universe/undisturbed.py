"""The same work where nothing goes wrong, by the core alone."""

from dataclasses import replace

from treeroll.core.model.run import RunSpec, TaskSpec
from treeroll.simulation.world import World
from treeroll.tree.rng import hash64


class Undisturbed(World):
    """A world whose trees have the names that the service gives them."""

    def _specs(self) -> list[RunSpec]:
        return [self.spec]  # which says itself which models grow its trees

    def _task(self, number: int, epoch: int, pool: str = "") -> TaskSpec:
        task = super()._task(number, epoch, pool)
        return replace(task, tree_id=f"{hash64('tree', self.spec.run_id, task.task_id, epoch):016x}")
