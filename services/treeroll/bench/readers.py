"""How long calls wait while somebody reads a large tree, which another process fetches, has audited, or rewards late.

On a machine that has other work they wait for a processor as well, alone as much as beside a reader. So the service's
own part is told beside that: how long its loop was held up, in CPU time of its process.
"""

import asyncio
import time
from collections.abc import Callable, Coroutine
from contextlib import AsyncExitStack
from dataclasses import asdict
from typing import Any

from treeroll.bench import redis_tools
from treeroll.bench.child import Child
from treeroll.bench.finished_trees import TreeShape
from treeroll.bench.latency import percentiles
from treeroll.bench.readers_service import RUN_ID, TREE_ID
from treeroll.bench.result import Column, Result
from treeroll.bench.rounds import Figures, run_rounds
from treeroll.client import AsyncClient, connect_async
from treeroll.errors import TreerollError

# Calls are begun so far apart, whether or not earlier ones are answered: who waits does not stop others from asking.
APART_S = 0.02
ALONE_S = 2.0

COLUMNS = (
    Column("p50_ms", "p50 ms", 1),
    Column("p99_ms", "p99 ms", 1),
    Column("max_ms", "max ms", 1),
    Column("held_p99_ms", "held p99 CPU ms", 1),
    Column("held_max_ms", "held max CPU ms", 1),
    Column("calls", "calls", 0),
    Column("seconds", "read in s", 2),
)


async def measure(shape: TreeShape, rounds: int, note: Callable[[str], None], warm_ups: int = 1) -> Result:
    """Waits of calls by themselves, beside a fetch, and beside an audit."""
    async with AsyncExitStack() as stack:
        server = stack.enter_context(redis_tools.redis_server("everysec"))
        service = await stack.enter_async_context(Child("treeroll.bench.readers_service"))
        reader = await stack.enter_async_context(Child("treeroll.bench.readers_client"))
        address = (await service.start(url=server.url, durability="everysec"))["address"]
        client = await stack.enter_async_context(await connect_async(address, token="", tls=False))
        await client.create_run(RUN_ID, leaves=shape.leaves, segment_tokens=shape.segment_tokens)
        nodes = (await service.ask(fill=asdict(shape)))["nodes"]
        note(f"stored a tree of {nodes:,} nodes")
        await reader.start(address=address)

        async def watched(work: Coroutine[Any, Any, None]) -> Figures:
            await service.ask(holds=True)
            figures = await waits(client, work)
            # A call that comes at any time is more likely to come in a long hold than in a short one.
            held = percentiles([(hold, hold) for hold in (await service.ask(holds=True))["holds"]])
            return {**figures, "held_p99_ms": held["p99_ms"], "held_max_ms": held["max_ms"]}

        async def alone(_: int) -> Figures:
            return await watched(asyncio.sleep(ALONE_S))

        async def fetch(_: int) -> Figures:
            return await watched(_read(reader, nodes, fetch=TREE_ID))

        async def audit(_: int) -> Figures:
            return await watched(_read(reader, nodes, audit=True))

        async def reward(_: int) -> Figures:
            return await watched(_read(reader, shape.leaves, reward=RUN_ID))

        variants = {"alone": alone, "fetch": fetch, "audit": audit, "reward": reward}
        measured = await run_rounds(variants, rounds, note, warm_ups)
        return Result("readers", asdict(shape) | {"nodes": nodes, "apart_s": APART_S}, measured, COLUMNS)


async def _read(reader: Child, nodes: int, **command: Any) -> None:
    if (found := (await reader.ask(**command))["nodes"]) != nodes:
        raise TreerollError(f"the reader saw {found} of {nodes} nodes")


async def waits(client: AsyncClient, work: Coroutine[Any, Any, None]) -> Figures:
    """How long calls wait that are made while some work is done."""
    began = time.monotonic()
    busy = asyncio.create_task(work)
    calls: list[asyncio.Task[float]] = []
    while not busy.done():
        calls.append(asyncio.create_task(_ask(client)))
        await asyncio.sleep(max(0.0, began + len(calls) * APART_S - time.monotonic()))
    await busy
    seconds = time.monotonic() - began
    taken = await asyncio.gather(*calls)
    return {**percentiles([(wait, 1) for wait in taken]), "calls": len(calls), "seconds": seconds}


async def _ask(client: AsyncClient) -> float:
    began = time.monotonic()
    await client.status()
    return time.monotonic() - began
