"""How much of its memory the store has used: said early, and before it is all gone no more trees are begun.

What grows may come to its end in what is left; a store with nothing left takes no writes at all, which is an outage.
"""

import asyncio
import logging

from treeroll.coordinator.loop import Coordinator, Item
from treeroll.core.model.events import StoreFilled
from treeroll.errors import StoreError

log = logging.getLogger(__name__)

# Shares of its memory from which on people are warned, and no tree starts and no task is taken.
WARN, FULL = 0.8, 0.9
# How often it is looked at, seconds.
LOOK_S = 1.0


class StoreRoom:
    """Watches one store, for its coordinator."""

    def __init__(self, coordinator: Coordinator) -> None:
        self._coordinator = coordinator
        self._warned = False

    async def run(self) -> None:
        """Watch until cancelled. A store that does not answer is the coordinator's trouble."""
        while True:
            try:
                self.judge(await self._coordinator.store.used())
            except StoreError as error:
                log.debug("the store's memory is not known just now: %s", error)
            await asyncio.sleep(LOOK_S)

    def judge(self, used: float | None) -> None:
        """Do what a share that is in use asks for; None: there is no limit."""
        coordinator = self._coordinator
        before, coordinator.store_used = coordinator.store_used or 0.0, used
        now = used or 0.0
        if (now >= FULL) != (before >= FULL):
            coordinator.post_nowait(Item([StoreFilled(now >= FULL)]))
            if now < FULL:
                log.warning("%s has room again, %.0f %% of its memory are used", coordinator.store.address, 100 * now)
        if now >= FULL > before:
            log.error("%s; no tree starts and no task is taken", fullness(coordinator.store.address, now))
        elif now >= WARN > before:
            log.warning("%s; from %.0f %% on no tree starts", fullness(coordinator.store.address, now), 100 * FULL)


def fullness(address: str, used: float) -> str:
    """How full a store is, and what helps."""
    return f"{address} has used {100 * used:.0f} % of its maxmemory: raise that, or delete finished runs"
