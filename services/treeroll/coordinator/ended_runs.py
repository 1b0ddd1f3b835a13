"""Runs that had ended when the coordinator started. They are read when somebody first asks for them, so that a start
does not take the longer the more has ended."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from treeroll.core.model.run import RunState
from treeroll.pb.v1 import rollout_pb2 as api


@dataclass(frozen=True, slots=True)
class EndedRun:
    """What is known of one that was not read."""

    owner: str
    tasks: int


async def _nothing(run_id: str) -> None:
    pass


@dataclass(slots=True)
class EndedRuns:
    """`read` takes one up, or finds out why that cannot be."""

    read: Callable[[str], Awaitable[None]] = _nothing
    unread: dict[str, EndedRun] = field(default_factory=dict)
    _turn: asyncio.Lock = field(default_factory=asyncio.Lock)

    def leave(self, record: api.Run) -> bool:
        """Whether a run can wait to be read: nothing will come of it that has not."""
        ended = sum((record.finished, record.failed, *record.filtered.values()))
        if record.state in ("", RunState.OPEN.value) or record.waiting or record.growing or ended != record.submitted:
            return False
        self.unread[record.run_id] = EndedRun(record.owner, record.submitted)
        return True

    async def want(self, run_id: str) -> None:
        """Return once the run is read, if it has not been."""
        if run_id not in self.unread:
            return
        async with self._turn:
            if run_id in self.unread:
                await self.read(run_id)
                self.unread.pop(run_id, None)
