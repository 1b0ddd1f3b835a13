"""A local trainer process: takes every sample through the client API, or the same bytes without it."""

import asyncio
import time
from typing import Any

import treeroll
from treeroll.bench.child import answer_commands
from treeroll.bench.feed_process import BARE_METHOD, RUN_ID
from treeroll.channels import open_blocking_channel
from treeroll.errors import TreerollError


async def answer(command: dict[str, Any]) -> dict[str, Any]:
    """One pass over the feed. The client is synchronous, as a trainer is: it runs in a thread."""
    if "bare" in command:
        return await asyncio.to_thread(read_bare, command["bare"])
    return await asyncio.to_thread(read_samples, **command)


def read_samples(address: str, group: str, trees: int, batch_trees: int) -> dict[str, Any]:
    """Iterate over batches and touch each sample's arrays; acknowledged batch by batch."""
    began, cpu = time.monotonic(), time.process_time()
    samples = tokens = taken = 0
    with (
        treeroll.connect(address, token="", tls=False) as client,
        client.run(RUN_ID).batches(batch_trees, group, prefetch=True) as batches,
    ):
        for batch in batches:
            for sample in batch.samples:
                samples += 1
                tokens += len(sample.completion_ids)
                advantages = sample.advantages
                if advantages is None or not len(sample.completion_ids) == len(sample.logprobs) == len(advantages):
                    raise TreerollError(f"sample {sample.sample_id} is not whole")
            taken += len(batch.deliveries)
            if taken >= trees:
                batch.ack()
                break
    return {
        "seconds": time.monotonic() - began, "cpu_s": time.process_time() - cpu, "samples": samples, "tokens": tokens,
    }  # fmt: skip


def read_bare(address: str) -> dict[str, Any]:
    """The same bytes, uninterpreted."""
    began, cpu = time.monotonic(), time.process_time()
    size = 0
    with open_blocking_channel(address) as channel:
        stream: Any = channel.unary_stream(BARE_METHOD)
        for message in stream(b""):
            size += len(message)
    return {"seconds": time.monotonic() - began, "cpu_s": time.process_time() - cpu, "bytes": size}


if __name__ == "__main__":
    asyncio.run(answer_commands(answer))
