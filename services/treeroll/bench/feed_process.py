"""Where finished trees come from: the real service over a filled store, and beside it the same bytes without it."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack
from typing import Any

import grpc
import redis
import uvloop

from treeroll.bench.child import answer_commands
from treeroll.bench.coordinator_process import Service
from treeroll.bench.finished_trees import FinishedTrees, TreeShape
from treeroll.store import keys

RUN_ID = "bench"
BARE_METHOD = "/bench.Bare/Stream"
BARE_SERVICE, BARE_NAME = "bench.Bare", "Stream"
TREES_PER_COMMIT = 16
MESSAGE_BYTES = 64 << 20


class FeedService(Service):
    """The service, and a server of the bare pipeline on a port of its own."""

    async def answer(self, command: dict[str, Any]) -> dict[str, Any]:
        """First the settings; "fill" then stores trees and starts the bare server; else figures."""
        if "fill" in command:
            return await self._fill(
                command["url"], command["fill"], command["per_message"], TreeShape(**command["shape"])
            )
        return await super().answer(command)

    async def _fill(self, url: str, count: int, per_message: int, shape: TreeShape) -> dict[str, Any]:
        trees = FinishedTrees(shape)
        coordinator = self.coordinator
        size = 0
        for first in range(0, count, TREES_PER_COMMIT):
            commit = trees.commit(RUN_ID, first, min(TREES_PER_COMMIT, count - first))
            size += sum(len(record) for rows in commit.nodes.values() for _, record in rows)
            size += sum(map(len, commit.trees.values()))
            await coordinator.store.commit(commit, coordinator.epoch)
            coordinator.state.runs[RUN_ID].fed += len(commit.feed)  # an owner hands on no tree that it does not know of
        port = self._start_bare(url, count, per_message)
        return {"bytes": size, "bare_address": f"127.0.0.1:{port}"}

    def _start_bare(self, url: str, count: int, per_message: int) -> int:
        options = [("grpc.max_send_message_length", MESSAGE_BYTES)]
        server = grpc.server(ThreadPoolExecutor(2), options=options)
        stream: Any = grpc.unary_stream_rpc_method_handler(
            lambda request, context: bare_stream(url, count, per_message)
        )
        server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler(BARE_SERVICE, {BARE_NAME: stream})])
        port = server.add_insecure_port("127.0.0.1:0")
        server.start()
        self.stack.callback(server.stop, 0.1)
        return port


def bare_stream(url: str, count: int, per_message: int) -> Iterator[bytes]:
    """Node records and headers as they are in Redis: one pipelined read and one message for `per_message` trees."""
    with redis.Redis.from_url(url) as client:
        for first in range(0, count, per_message):
            pipeline = client.pipeline(transaction=False)
            for number in range(first, min(first + per_message, count)):
                tree_id = f"{number:016x}"
                pipeline.execute_command("HGET", keys.tree(tree_id), keys.HEADER)
                pipeline.execute_command("LRANGE", keys.nodes(tree_id), 0, -1)
            replies = pipeline.execute()
            parts: list[bytes] = []
            for header, nodes in zip(replies[::2], replies[1::2], strict=True):
                parts.append(header)
                parts += nodes
            yield b"".join(parts)


async def main() -> None:
    """Serve until standard input ends."""
    async with AsyncExitStack() as stack:
        await answer_commands(FeedService(stack).answer)


if __name__ == "__main__":
    uvloop.run(main())  # as `treeroll serve` does
