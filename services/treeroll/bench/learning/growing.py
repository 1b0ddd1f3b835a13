"""Trees by the real service in this process, sampled from a network that the bench holds."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from itertools import count
from types import TracebackType
from typing import Any

from treeroll.bench.learning.families import Arm, Family
from treeroll.bench.learning.network import Network
from treeroll.bench.learning.torch_engine import TorchEngine
from treeroll.client import AsyncClient, TreeRecord, connect_async
from treeroll.clock import monotonic
from treeroll.errors import Unavailable
from treeroll.tasks import Task
from treeroll.testing.service import local_service
from treeroll.tree.rng import hash64

# Requests decoded at once; more than any arm has at a time would only cost memory.
SLOTS = 256
KEEP_S = 1.0  # of trees that were read


@dataclass(frozen=True)
class Grown:
    """What a growth brought. Trees are in the order of their tasks' ids."""

    trees: Sequence[TreeRecord]
    tokens: int
    """All that were generated, dropped ones too."""
    seconds: float
    run_id: str


class Grower:
    """A service and its engine, as a context."""

    def __init__(self, family: Family, network: Network, slots: int = SLOTS) -> None:
        self.family, self.network = family, network
        self._slots = slots
        self._ids = count()
        self._exits = AsyncExitStack()
        self._client: AsyncClient

    async def __aenter__(self) -> "Grower":
        try:
            service = await self._exits.enter_async_context(
                local_service(model=self.family.model, keep_acknowledged_s=KEEP_S)
            )
            longest = self.family.max_tokens + 64
            engine = TorchEngine(self.network, str(self.family.model), self._slots, longest)
            service.serve_engine(engine, "r0")
            await service.joined()
            self._client = await self._exits.enter_async_context(
                await connect_async(service.address, token="", tls=False)
            )
        except BaseException:
            await self._exits.aclose()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._exits.aclose()

    async def grow(self, arm: Arm, tasks: Sequence[Task], seed: int, **changes: Any) -> Grown:
        """A tree of each task. With an allocator, of a second epoch: `seconds` and tokens of the first do not count."""
        settings: dict[str, Any] = {**self.family.shared(), **arm.settings, "seed": seed, **changes}
        if arm.allocator is not None:
            settings["allocate"] = {"name": arm.allocator}
            before = await self._grow(arm.recipe, tasks, settings | {"seed": hash64(seed, "before") >> 2})
            settings["history_from"] = before.run_id
        return await self._grow(arm.recipe, tasks, settings)

    async def _grow(self, recipe: str, tasks: Sequence[Task], settings: Mapping[str, Any]) -> Grown:
        run = await self._client.create_run(f"learning-{next(self._ids)}", recipe=recipe, **settings)
        began = monotonic()
        await run.submit(tasks)
        await run.close()
        trees: list[TreeRecord] = []
        async with run.batches(trees=8) as batches:
            async for batch in batches:
                if batch.failures:
                    raise Unavailable(f"task {batch.failures[0].task_id} failed: {batch.failures[0].error}")
                trees += batch.trees
                await batch.ack()
        seconds = monotonic() - began
        for tree in trees:
            if tree.n_scored < len(tree.samples):
                raise Unavailable(f"{len(tree.samples) - tree.n_scored} samples of task {tree.task_id} have no reward")
        status = await run.status()
        trees.sort(key=lambda tree: tree.task_id)
        return Grown(trees, status.ledger.spent, seconds, run.run_id)


Note = Callable[[str], None]
