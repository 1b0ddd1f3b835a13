"""What a run does from moment to moment, sampled from outside; how long it stood still, and when it went on.

What the service says is one source. The other one is the store itself, which knows what is durable also while nobody
serves.
"""

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import grpc
import grpc.aio

from treeroll import clock
from treeroll.channels import open_channel
from treeroll.errors import StoreDown
from treeroll.pb.v1 import rollout_pb2 as api
from treeroll.pb.v1 import rollout_pb2_grpc
from treeroll.store.redis import RedisStore

EVERY_S, READ_EVERY_S = 0.1, 0.02
ANSWER_S = 2.0


@dataclass(frozen=True, slots=True)
class Sample:
    """What there was of the run at one moment."""

    at_s: float
    """Seconds of the monotonic clock, when the answer came."""
    spent: int
    """Tokens of the run's account."""
    regrants: int
    ended: int
    """Tasks with their terminal event."""
    replicas: dict[str, int] = field(default_factory=dict)
    """Tokens that each replica says it has generated; by name, of its present life."""


class Watch:
    """Samples a run every 0.1 s, as a context."""

    def __init__(self, address: str, store_url: str, run_id: str) -> None:
        self._address = address
        self._store_url = store_url
        self._run_id = run_id
        self.samples: list[Sample] = []
        """What the service said. Where it does not answer there is no sample."""
        self.durable: list[Sample] = []
        """What the store had, more often. Where that does not answer there is none."""

    async def __aenter__(self) -> "Watch":
        self._tasks = [asyncio.create_task(work) for work in (self._ask_forever(), self._read_forever())]
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    @property
    def latest(self) -> Sample | None:
        """The last one of the store, if there is any yet."""
        return self.durable[-1] if self.durable else None

    async def _ask_forever(self) -> None:
        async with open_channel(self._address) as channel:
            stub: Any = rollout_pb2_grpc.RolloutsStub(channel)
            while True:
                next_at = clock.monotonic() + EVERY_S
                with suppress(grpc.aio.AioRpcError):
                    run = await stub.GetRun(api.GetRunRequest(run_id=self._run_id), timeout=ANSWER_S)
                    # At once, or it is older than the answer says.
                    at_s = clock.monotonic()
                    service = await stub.GetService(api.GetServiceRequest(), timeout=ANSWER_S)
                    tokens = {replica.replica_id: replica.generated_tokens for replica in service.replicas}
                    self.samples.append(_sample(at_s, run, tokens))
                await asyncio.sleep(max(0.0, next_at - clock.monotonic()))

    async def _read_forever(self) -> None:
        store = RedisStore(self._store_url)
        try:
            while True:
                with suppress(StoreDown):
                    written = await store.load_run(self._run_id)
                    if written is not None:
                        self.durable.append(_sample(clock.monotonic(), api.Run.FromString(written), {}))
                await asyncio.sleep(READ_EVERY_S)
        finally:
            await store.close()


def _sample(at_s: float, run: api.Run, tokens: dict[str, int]) -> Sample:
    ended = run.finished + run.failed + sum(run.filtered.values())
    return Sample(at_s, run.ledger.spent, run.regrants, ended, tokens)


def growth(samples: Sequence[Sample]) -> Iterator[float]:
    """Moments at which more tokens had been spent than before; the first sample is one."""
    most = -1
    for sample in samples:
        if sample.spent > most:
            most = sample.spent
            yield sample.at_s


def longest_stall_s(samples: Sequence[Sample], since_s: float, until_s: float) -> float:
    """Longest time without growth that ended in this span of the clock, seconds; 0.0 without two moments of growth."""
    return max(
        (after - before for before, after in pairwise(growth(samples)) if since_s <= after <= until_s), default=0.0
    )


def went_on_s(samples: Sequence[Sample], ends_s: float, healed_s: float) -> float | None:
    """Seconds from the end of a fault, which began and was done at these moments, to the first growth; None without.

    What goes on before the end is done went on at once.
    """
    return next((max(0.0, at - healed_s) for at in growth(samples) if at > ends_s), None)


def regranted_s(samples: Sequence[Sample], since_s: float) -> float | None:
    """Seconds from a moment until branches had been granted again for the first time; None if none were."""
    before = [sample.regrants for sample in samples if sample.at_s <= since_s]
    already = before[-1] if before else 0
    return next((sample.at_s - since_s for sample in samples if sample.regrants > already), None)


def tokens_per_s(samples: Sequence[Sample], replicas: Sequence[str], since_s: float, until_s: float) -> float:
    """What these replicas generated in a span of the clock, by what they say; 0.0 where it has no two samples.

    A replica that began a new life in it counts from there.
    """
    there = [sample for sample in samples if since_s <= sample.at_s <= until_s]
    if len(there) < 2:
        return 0.0
    made = sum(
        max(0, after.replicas.get(name, 0) - before.replicas.get(name, 0))
        for before, after in pairwise(there)
        for name in replicas
    )
    return made / (there[-1].at_s - there[0].at_s)
