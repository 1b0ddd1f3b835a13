"""The service of `bench readers`: the real one, over a store with one large tree."""

import asyncio
import time
from contextlib import AsyncExitStack
from typing import Any

import uvloop

from treeroll.bench.child import answer_commands
from treeroll.bench.coordinator_process import Service
from treeroll.bench.finished_trees import FinishedTrees, TreeShape

RUN_ID, TREE_ID = "bench", f"{0:016x}"
NODES_PER_COMMIT = 4096
LOOK_S = 0.001


class ReadersService(Service):
    """Beside all else it stores a tree that it is told the shape of, and watches how long its loop is held up.

    In CPU time of the whole process, whichever thread has the interpreter: on a machine with other work a call mostly
    waits for a processor, which says nothing of us.
    """

    def __init__(self, stack: AsyncExitStack) -> None:
        super().__init__(stack)
        self._holds: list[float] = []
        self._watch = asyncio.create_task(self._look())
        stack.callback(self._watch.cancel)

    async def _look(self) -> None:
        while True:
            before = time.process_time()
            await asyncio.sleep(LOOK_S)
            self._holds.append(time.process_time() - before)

    async def answer(self, command: dict[str, Any]) -> dict[str, Any]:
        """First the settings; "fill" stores the tree; "holds": how long the loop was held up since that was last asked,
        seconds of CPU; else figures."""
        if "fill" in command:
            return await self._fill(TreeShape(**command["fill"]))
        if "holds" in command:
            holds, self._holds = self._holds, []
            return {"holds": holds}
        return await super().answer(command)

    async def _fill(self, shape: TreeShape) -> dict[str, Any]:
        commit = FinishedTrees(shape, variety=1).commit(RUN_ID, 0, 1)
        commit.tasks[RUN_ID] = {"0:task-0": (TREE_ID, "")}
        store, epoch, rows = self.coordinator.store, self.coordinator.epoch, commit.nodes.pop(TREE_ID)
        for first in range(0, len(rows), NODES_PER_COMMIT):
            commit.nodes[TREE_ID] = rows[first : first + NODES_PER_COMMIT]
            await store.commit(commit, epoch)
            commit = type(commit)()
        return {"nodes": len(rows)}


async def main() -> None:
    """Serve until standard input ends."""
    async with AsyncExitStack() as stack:
        await answer_commands(ReadersService(stack).answer)


if __name__ == "__main__":
    uvloop.run(main())  # as `treeroll serve` does
