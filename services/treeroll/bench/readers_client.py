"""Who reads in `bench readers`, in a process of its own: what it makes of a tree is its own matter."""

import asyncio
from contextlib import AsyncExitStack
from typing import Any

from treeroll.bench.child import answer_commands
from treeroll.client import AsyncClient, connect_async


class Reader:
    """Connects with its first command, and then reads what it is told to."""

    def __init__(self, stack: AsyncExitStack) -> None:
        self._stack = stack
        self._client: AsyncClient | None = None
        self._version = 0
        self._leaves: list[str] = []

    async def answer(self, command: dict[str, Any]) -> dict[str, Any]:
        """How many nodes it saw."""
        if self._client is None:
            found = await connect_async(command["address"], token="", tls=False)
            self._client = await self._stack.enter_async_context(found)
            return {}
        if command.get("audit"):
            return {"nodes": (await self._client.audit()).nodes}
        if run_id := command.get("reward"):
            return await self._reward(self._client, run_id)
        tree = await self._client.get_tree(command["fetch"])
        self._leaves = [node.node_id for node in tree.nodes if node.status == "leaf"]
        return {"nodes": len(tree.nodes)}

    async def _reward(self, client: AsyncClient, run_id: str) -> dict[str, Any]:
        """Write a reward of each leaf of the tree that was fetched last, anew each time."""
        self._version += 1
        leaves = [leaf.partition(":") for leaf in self._leaves]
        rewards = [(tree_id, path, float(place % 2)) for place, (tree_id, _, path) in enumerate(leaves)]
        counts = await (await client.run(run_id)).report_rewards(rewards, version=self._version)
        return {"nodes": counts.applied}


async def main() -> None:
    """Read until standard input ends."""
    async with AsyncExitStack() as stack:
        await answer_commands(Reader(stack).answer)


if __name__ == "__main__":
    asyncio.run(main())
