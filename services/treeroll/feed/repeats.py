"""Requests for trees that come again because their answer got lost: they get the same leases, not more of them."""

import asyncio
from collections import OrderedDict
from dataclasses import dataclass, field

from treeroll.pb.v1 import rollout_pb2 as api
from treeroll.store.base import Lease, Store

# Requests that are remembered, the last ones of all consumers: a client repeats within seconds.
MOST = 4096


@dataclass(slots=True)
class _Answer:
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)
    leases: list[Lease] = field(default_factory=list)


class Repeats:
    """Lends trees to requests, once to each."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._answers: OrderedDict[tuple[str, str, str, str], _Answer] = OrderedDict()

    async def lend(self, request: api.LeaseTreesRequest) -> list[Lease]:
        """Leases for a request: those that it was given before and still has, else what there is.

        To its end even if the caller is cancelled: what it was lent would be known to nobody.
        """
        if not request.request_id:
            return await self._lend(request)
        return await asyncio.shield(self._once(request))

    async def _once(self, request: api.LeaseTreesRequest) -> list[Lease]:
        answer = self._answer(request)
        async with answer.turn:
            if answer.leases:
                ids = [lease.lease_id for lease in answer.leases]
                lost = {*await self._store.renew(request.run_id, request.group, ids, request.lease_s)}
                answer.leases = [lease for lease in answer.leases if lease.lease_id not in lost]
            if not answer.leases:
                answer.leases = await self._lend(request)
            return answer.leases

    def _answer(self, request: api.LeaseTreesRequest) -> _Answer:
        key = request.run_id, request.group, request.consumer, request.request_id
        answer = self._answers.setdefault(key, _Answer())
        self._answers.move_to_end(key)
        if len(self._answers) > MOST:
            self._answers.popitem(last=False)
        return answer

    async def _lend(self, request: api.LeaseTreesRequest) -> list[Lease]:
        epoch = request.group_epoch if request.HasField("group_epoch") else None
        return await self._store.lease(
            request.run_id, request.group, request.consumer, request.max_trees, request.lease_s, epoch
        )
