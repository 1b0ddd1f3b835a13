"""A treeroll service of our own, kept alive through a benchmark, and what runs through it."""

import tempfile
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from itertools import count
from pathlib import Path
from types import TracebackType
from typing import Any

from treeroll.bench.meter import Meter
from treeroll.bench.prompts import Workload
from treeroll.bench.raw_variants import NO_TESTS
from treeroll.client import AsyncBatch, AsyncClient, AsyncRun, TreeRecord, connect_async
from treeroll.errors import Unavailable
from treeroll.local_service import LocalService
from treeroll.tasks import Task


class BenchService:
    """`treeroll serve` in processes of its own and a client here, as a context."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        """`config` has the sections that `treeroll serve` reads."""
        self._config = config
        self._exits = AsyncExitStack()
        self._ids = count()
        self.client: AsyncClient

    async def __aenter__(self) -> "BenchService":
        folder = self._exits.enter_context(tempfile.TemporaryDirectory(prefix="treeroll-bench-"))
        service = LocalService(self._config, Path(folder, "service.log"))
        self._exits.push_async_callback(service.stop)
        try:
            address = await service.start()
            self.client = await self._exits.enter_async_context(await connect_async(address, token="", tls=False))
        except BaseException:
            await self._exits.aclose()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._exits.aclose()

    async def run(self, recipe: str, workload: Workload, **config: Any) -> AsyncRun:
        """A new run for this workload; `config` wins."""
        limits = workload.limits
        settings: dict[str, Any] = {
            "recipe": recipe,
            "leaves": limits.leaves,
            "segment_tokens": limits.segment_tokens,
            "max_depth": limits.max_depth,
        }
        if workload.kind == "fixed":
            settings |= {"ignore_eos": True, "prune": NO_TESTS}
        return await self.client.create_run(f"bench-{next(self._ids)}", **settings | config)

    async def grow(self, recipe: str, workload: Workload, tasks: Sequence[Task]) -> Meter:
        """One round: from the submission to the last tree in our hands."""
        run = await self.run(recipe, workload)
        meter = Meter()
        await run.submit(tasks)
        await run.close()
        batches = await receive(run, meter)
        await count_run(run, meter, [tree for batch in batches for tree in batch.trees])
        return meter


async def receive(run: AsyncRun, meter: Meter) -> list[AsyncBatch]:
    """Take and acknowledge every tree, as it comes. Unavailable if one failed."""
    batches = []
    async with run.batches(trees=1) as arriving:
        async for batch in arriving:
            await batch.ack()
            if batch.failures:
                raise Unavailable(f"task {batch.failures[0].task_id} failed: {batch.failures[0].error}")
            meter.arrived(len(batch))
            batches.append(batch)
    return batches


async def count_run(run: AsyncRun, meter: Meter, trees: Sequence[TreeRecord]) -> None:
    """What a finished run cost. Not part of the measured time."""
    status = await run.status()
    meter.wasted += status.wasted_tokens
    meter.generated += status.ledger.spent - status.wasted_tokens
    for tree in trees:
        meter.sample_tokens += sum(len(sample.completion_ids) for sample in tree.samples)
        for node in tree.nodes[1:]:
            if node.cached_tokens is not None:
                at_prompt = node.token_start == tree.nodes[0].token_ids.size
                meter.request(f"{run.run_id}:{tree.task_id}", node.token_start, node.cached_tokens, at_prompt=at_prompt)
