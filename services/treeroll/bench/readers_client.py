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

    async def answer(self, command: dict[str, Any]) -> dict[str, Any]:
        """How many nodes it saw."""
        if self._client is None:
            found = await connect_async(command["address"], token="", tls=False)
            self._client = await self._stack.enter_async_context(found)
            return {}
        if command.get("audit"):
            return {"nodes": (await self._client.audit()).nodes}
        return {"nodes": len((await self._client.get_tree(command["fetch"])).nodes)}


async def main() -> None:
    """Read until standard input ends."""
    async with AsyncExitStack() as stack:
        await answer_commands(Reader(stack).answer)


if __name__ == "__main__":
    asyncio.run(main())
