"""Standing by: waiting until the owner of a store has fallen silent, to go on in its place.

Who is taken for dead and lives writes nothing afterwards: epochs fence it, never time. So a wrong guess costs a
restart, and nothing else.
"""

import asyncio
import logging
import random
from collections.abc import Callable
from contextlib import suppress

from treeroll import clock
from treeroll.coordinator.loop import HEARTBEAT_S
from treeroll.errors import InvalidInput, StaleEpoch, StandsBy, StoreDown, StoreError
from treeroll.store.base import NOBODY, Heartbeat, Store

log = logging.getLogger(__name__)

# An owner commits once a second, if only to say that it is there. One that has not for so long, while its store
# answers, is taken for dead, seconds.
SILENCE_S = 5.0
# How long an owner is listened to by who is not to stand by for it: for several of its commits.
LISTEN_S = 3.0
# How often it is listened for.
LOOK_S = 0.25
# Services of a new store are started together, and each would take it from the other: one waits longer, seconds.
SPREAD_S = 1.0


async def open_silent(store: Store) -> int:
    """Open a store that has no owner, or one that says nothing while it is listened to; the epoch.

    Raises InvalidInput naming an owner that lives: who starts a second service on one store has mistyped something. Of
    several that start at once one opens it.
    """
    before, began = await store.heartbeat() or NOBODY, clock.monotonic()
    while before is not NOBODY and clock.monotonic() - began < LISTEN_S:
        await asyncio.sleep(LOOK_S)
        if (beat := await store.heartbeat()) not in (before, None):
            raise _lives(store, beat)
    try:
        epoch = await store.open(heard=before)
    except StaleEpoch:
        raise _lives(store, await store.heartbeat() or NOBODY) from None
    if before is not NOBODY:
        who = before.name
        log.warning("%s, the last owner of %s, is silent: this service goes on in its place", who, store.address)
    return epoch


def _lives(store: Store, owner: Heartbeat) -> InvalidInput:
    return InvalidInput(
        f"{store.address} has an owner that lives, {owner.name} (epoch {owner.epoch}): stop that service, give "
        "this one another store (store.url), or start it with --standby to take over when the other is silent"
    )


class Beats:
    """Says that an owner lives while it starts, and has nothing to commit yet: else it would be taken for dead."""

    def __init__(self, store: Store, epoch: int) -> None:
        self._store, self._epoch = store, epoch
        self._task = asyncio.create_task(self._beat(), name="beats")

    async def _beat(self) -> None:
        with suppress(StaleEpoch):  # which the next commit says
            while True:
                try:
                    await self._store.beat(self._epoch)
                except StaleEpoch:
                    raise
                except StoreError as error:
                    log.debug("nobody hears that this owner lives: %s", error)
                await asyncio.sleep(HEARTBEAT_S)

    async def stop(self) -> None:
        """From here on it commits, or ends."""
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)


class Standby:
    """Takes a store over when its owner is silent."""

    def __init__(self, store: Store, tell: Callable[[StandsBy], None]) -> None:
        """`tell` hears, again and again, what to say to callers meanwhile."""
        self._store = store
        self._tell = tell
        self._heard: Heartbeat | None = None
        self._since = 0.0
        self._said = ""
        self.in_place = False
        """Whether its store answers, so that it would hear the owner's silence."""

    async def take_over(self) -> int:
        """Wait for silence, then open the store; returns the epoch. Raises StoreError if it cannot be used at all."""
        while True:
            try:
                await self._silence()
                self._tell(StandsBy(f"this service takes {self._store.address} over, and starts; try again in a while"))
                epoch = await self._store.open(heard=self._heard or NOBODY)
            except StaleEpoch:  # another one that stood by was faster: it is stood by for
                continue
            except StoreDown as error:  # nobody can write then, so silence says nothing
                self._heard, self.in_place = None, False
                self._say(f"waits for {self._store.address}", f": {error}")
                await asyncio.sleep(LOOK_S)
                continue
            owner = self._heard.name if self._heard else "nobody"
            log.warning("takes %s over from %s, as epoch %d", self._store.address, owner, epoch)
            return epoch

    async def _silence(self) -> None:
        """Return when the owner has been silent for SILENCE_S, or if there never was one."""
        self._heard = None
        if await self._store.heartbeat() is None:
            await asyncio.sleep(random.uniform(0.0, SPREAD_S))  # noqa: S311 - spreads those that start together
        while (beat := await self._store.heartbeat()) is not None:
            now = clock.monotonic()
            if beat != self._heard:
                self._heard, self._since = beat, now
            silent_s, self.in_place = now - self._since, True
            if silent_s >= SILENCE_S:
                return
            self._say(
                f"stands by for {beat.name}, which has {self._store.address} (epoch {beat.epoch})",
                f" and was heard {silent_s:.1f} s ago",
            )
            await asyncio.sleep(LOOK_S)

    def _say(self, what: str, detail: str) -> None:
        if what != self._said:
            self._said = what
            log.info("%s%s", what, detail)
        self._tell(StandsBy(f"this service {what}{detail}"))
