"""How many samples a second reach one local trainer through the whole client API, against the same bytes without it."""

import itertools
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import asdict

from treeroll.bench import redis_tools
from treeroll.bench.child import Child
from treeroll.bench.feed_process import RUN_ID
from treeroll.bench.finished_trees import TreeShape
from treeroll.bench.result import Column, Result
from treeroll.bench.rounds import Figures, run_rounds
from treeroll.client import connect_async
from treeroll.errors import TreerollError

# Of the bare stream: about 1 MiB. Between 4 and 32 its rate differs by no more than rounds do.
TREES_PER_MESSAGE = 8

COLUMNS = (
    Column("samples_s", "samples/s", 0, ratio_to="bare"),
    Column("mib_s", "MiB/s", 0),
    Column("trainer_cpu_us", "trainer CPU us/sample", 1),
)


async def measure(
    shape: TreeShape, trees: int, batch_trees: int, rounds: int, note: Callable[[str], None], warm_ups: int = 1
) -> Result:
    """`client`: batches, samples as arrays, acknowledgements. `bare`: pipelined Redis reads and one gRPC stream."""
    async with AsyncExitStack() as stack:
        server = stack.enter_context(redis_tools.redis_server("everysec"))
        service = await stack.enter_async_context(Child("treeroll.bench.feed_process"))
        trainer = await stack.enter_async_context(Child("treeroll.bench.feed_trainer"))
        started = await service.start(url=server.url, durability="everysec")
        client = await stack.enter_async_context(await connect_async(started["address"], token="", tls=False))
        await client.create_run(RUN_ID, leaves=shape.leaves, segment_tokens=shape.segment_tokens)
        note(f"storing {trees} trees of {shape.leaves} samples")
        filled = await service.ask(fill=trees, url=server.url, per_message=TREES_PER_MESSAGE, shape=asdict(shape))
        groups = itertools.count()
        await trainer.start(bare=filled["bare_address"])

        async def through_client(_: int) -> Figures:
            group = f"group-{next(groups)}"
            found = await trainer.ask(address=started["address"], group=group, trees=trees, batch_trees=batch_trees)
            if found["tokens"] != trees * shape.leaves * shape.tokens_per_sample:
                raise TreerollError(f"{found['tokens']} tokens came in {found['samples']} samples, some are missing")
            return figures(found)

        async def bare(_: int) -> Figures:
            found = await trainer.ask(bare=filled["bare_address"])
            if found["bytes"] != filled["bytes"]:
                raise TreerollError(f"{found['bytes']} of {filled['bytes']} bytes came through the bare pipeline")
            return figures(found)

        def figures(found: dict[str, float]) -> Figures:
            samples = trees * shape.leaves
            return {
                "samples_s": samples / found["seconds"],
                "mib_s": filled["bytes"] / found["seconds"] / 2**20,
                "trainer_cpu_us": 1e6 * found["cpu_s"] / samples,
                "seconds": found["seconds"],
            }

        measured = await run_rounds({"bare": bare, "client": through_client}, rounds, note, warm_ups)
        parameters = asdict(shape) | {
            "trees": trees,
            "batch_trees": batch_trees,
            "prefetch": True,
            "bytes": filled["bytes"],
        }
        return Result("feed", parameters, measured, COLUMNS)
