"""PublishWeights and GetWeights: what trainers ask of weights, and what a coordinator finds of them, and of
the models that they are of, when it starts."""

import asyncio

from treeroll import clock
from treeroll.coordinator import pool_models, weight_records
from treeroll.coordinator.loop import Coordinator
from treeroll.core.model.events import WeightsPublished
from treeroll.core.model.pool import Pool
from treeroll.core.scheduling.publication import pool_named
from treeroll.errors import InvalidInput
from treeroll.pb.v1 import rollout_pb2 as api

LONGEST_WAIT_S = 60.0


class Publications:
    """Answers for the weights of all pools."""

    def __init__(self, coordinator: Coordinator, keep: int) -> None:
        """`keep`: directories of so many versions that were in force stay in use."""
        self._coordinator = coordinator
        self._keep = keep
        self._news = asyncio.Event()
        coordinator.on_weights = self._tell

    async def publish(self, request: api.PublishWeightsRequest) -> api.WeightsStatus:
        """Take new weights; they are durable, and on their way, when this returns."""
        event = WeightsPublished(request.pool, request.version, request.path, request.digest, clock.wall())
        await self._coordinator.call(event)
        return self._status(self._pool(request.pool))

    async def status(self, request: api.GetWeightsRequest) -> api.WeightsStatus:
        """Where a pool stands, as soon as the version that was asked for is settled, or when the wait is over.

        That it is settled is told only by who owns the store: one that another has taken over from never heard of it.
        """
        if not 0.0 <= request.wait_s <= LONGEST_WAIT_S:
            raise InvalidInput(f"wait_s is {request.wait_s}, it must be 0 to {LONGEST_WAIT_S:g} seconds")
        pool, deadline = self._pool(request.pool), clock.monotonic() + request.wait_s
        while (left := deadline - clock.monotonic()) > 0 and self._is_on_its_way(pool, request.settled_version):
            news = self._news
            try:
                async with asyncio.timeout(left):
                    await news.wait()
            except TimeoutError:
                break
        if request.settled_version and not self._is_on_its_way(pool, request.settled_version):
            await self._coordinator.confirm()
        return self._status(pool)

    @staticmethod
    def _is_on_its_way(pool: Pool, version: int) -> bool:
        publication = pool.weights.publication
        return version > 0 and publication is not None and publication.weights.version == version

    def _tell(self) -> None:
        self._news.set()
        self._news = asyncio.Event()

    def _pool(self, name: str) -> Pool:
        return pool_named(self._coordinator.state, name)

    def _status(self, pool: Pool) -> api.WeightsStatus:
        return weight_records.status(pool, clock.monotonic(), clock.wall(), self._keep)


async def restore(coordinator: Coordinator) -> None:
    """Take up the weights of an earlier coordinator on the same store, before any replica joins."""
    pools = coordinator.state.pools
    for name, record in (await coordinator.store.load_weights()).items():
        if name in pools:  # or it is served no more
            pools[name].weights = weight_records.restored(record, clock.monotonic())


async def restore_models(coordinator: Coordinator) -> None:
    """Take up what pools were to an earlier coordinator, before any replica joins: others are held against it."""
    pools = coordinator.state.pools
    for name, record in (await coordinator.store.load_models()).items():
        if name in pools:  # or it is served no more; whoever serves it again must have the same
            pools[name].model = pool_models.restored(record)
