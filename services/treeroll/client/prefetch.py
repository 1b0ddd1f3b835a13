"""Prefetch: trees leased before their batch is asked for."""

import asyncio
import logging

from treeroll.client.fetch_size import FetchSize
from treeroll.client.leases import Leases
from treeroll.errors import TreerollError
from treeroll.pb.v1 import rollout_pb2

log = logging.getLogger(__name__)

# Requests under way for one batch: the service reads the next piece while this one travels.
PIECES_AT_ONCE = 2


class Prefetch:
    """Trees that have ended already, fetched in pieces, a few at a time; fewer if there is trouble."""

    def __init__(self, leases: Leases, fetch_size: FetchSize) -> None:
        self._leases = leases
        self._fetch_size = fetch_size
        self._ready: list[rollout_pb2.Delivery] = []
        self._asked = 0  # trees that may still come
        self._closed = False
        self._fetches: set[asyncio.Task[None]] = set()

    def fill(self, trees: int) -> None:
        """See that `trees` trees are here or on their way, as far as so many have ended."""
        missing = trees - len(self._ready) - self._asked
        if missing > 0:
            self._asked += missing
            fetch = asyncio.create_task(self._fetch(missing), name="treeroll prefetch")
            self._fetches.add(fetch)
            fetch.add_done_callback(self._fetches.discard)

    async def take(self, trees: int) -> list[rollout_pb2.Delivery]:
        """Up to `trees` of those here or on their way, in the order of the feed."""
        while len(self._ready) < trees and self._fetches:
            await asyncio.wait(set(self._fetches), return_when=asyncio.FIRST_COMPLETED)
        self._ready.sort(key=lambda delivery: delivery.delivery_seq)
        taken, self._ready = self._ready[:trees], self._ready[trees:]
        return taken

    async def close(self) -> None:
        """Fetch no more; what requests under way have leased is given back with all that the consumer holds."""
        self._closed = True
        for fetch in self._fetches:
            fetch.cancel()
        await asyncio.gather(*self._fetches, return_exceptions=True)

    async def _fetch(self, wanted: int) -> None:
        found: list[rollout_pb2.Delivery] = []
        left = wanted

        async def take() -> None:
            nonlocal left
            while left > 0 and not self._closed:
                count = min(left, self._fetch_size.trees)
                left -= count
                reply = await self._leases.take(count, 0.0)
                self._fetch_size.weigh(reply.deliveries)
                found.extend(reply.deliveries)
                if len(reply.deliveries) < count:
                    left = 0  # nothing more has ended

        try:
            for error in await asyncio.gather(*(take() for _ in range(PIECES_AT_ONCE)), return_exceptions=True):
                if error is not None:
                    trace = None if isinstance(error, TreerollError) else error
                    log.warning("the next batch could not be fetched ahead: %s", error, exc_info=trace)
        finally:
            self._ready += found
            self._asked -= wanted
