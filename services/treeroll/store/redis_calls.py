"""Calls of the Redis store: commands and scripts, one round trip each, that outlive the caller who is cancelled."""

import asyncio
import math
from collections.abc import Coroutine, Sequence
from typing import Any, TypeVar

from redis.exceptions import NoScriptError

from treeroll import clock
from treeroll.store.redis_connection import Arg, Command, ask, connect, store_errors
from treeroll.store.redis_url import public_address
from treeroll.store.scripts import script

T = TypeVar("T")

# An owner commits once a second, if only to say that it is there: what is longer than this is no time for leases.
LONGEST_TICK_S = 2.0


class RedisCalls:
    """Talks to one Redis server. A call that gets no answer within `timeout_s` raises StoreDown."""

    def __init__(self, url: str, timeout_s: float) -> None:
        """InvalidInput if the URL is none we know. Connects later, when first used."""
        self.address = public_address(url)
        self._redis = connect(url, timeout_s)
        self._calls: set[asyncio.Task[Any]] = set()
        self._ticks: tuple[int, float] | None = None  # the last committed tick, and when it was on our clock

    def _tick(self) -> int:
        """The owner's time, microseconds: leases end by it. It goes on from the last owner's and never jumps.

        It stands still while commits are not answered: nobody can renew a lease then. 0 for one who is not the owner:
        scripts then go by the last commit's.
        """
        if self._ticks is None:
            return 0
        tick, at = self._ticks
        return tick + microseconds(min(clock.monotonic() - at, LONGEST_TICK_S))

    async def close(self) -> None:
        # Calls whose callers were cancelled may still be on their way.
        await asyncio.gather(*self._calls, return_exceptions=True)
        with store_errors(self.address):
            await self._redis.aclose()

    async def _shielded(self, call: Coroutine[Any, Any, T]) -> T:
        """Let a call run to its end even if its caller is cancelled.

        A cancelled redis-py call gives up its connection, rightly: a half-sent command or an unread answer is on it.
        Not cancelling costs less than connecting again, and keeps the order of commits without holes.
        """
        task = asyncio.create_task(call)
        self._calls.add(task)
        task.add_done_callback(self._settled)
        return await asyncio.shield(task)

    def _settled(self, task: asyncio.Task[Any]) -> None:
        self._calls.discard(task)
        if not task.cancelled():
            task.exception()  # seen: nobody is left to tell if the caller was cancelled

    async def _call(self, *command: Arg) -> Any:
        return (await self._ask([command]))[0]

    async def _ask(self, commands: Sequence[Command]) -> list[Any]:
        return await self._shielded(self._answers(commands))

    async def _answers(self, commands: Sequence[Command]) -> list[Any]:
        with store_errors(self.address):
            return await ask(self._redis, commands)

    async def _script(self, name: str, script_keys: list[str], args: Sequence[Arg]) -> Any:
        return await self._shielded(self._evaluate(name, script_keys, args))

    async def _evaluate(self, name: str, script_keys: list[str], args: Sequence[Arg]) -> Any:
        code = script(name)
        what = (len(script_keys), *script_keys, *args)
        with store_errors(self.address):
            try:
                (reply,) = await ask(self._redis, [("EVALSHA", code.sha, *what)])
            except NoScriptError:  # first use, or the server restarted
                (reply,) = await ask(self._redis, [("EVAL", code.text, *what)])
        return reply


def microseconds(seconds: float) -> int:
    """How scripts take times."""
    return math.ceil(seconds * 1_000_000)
