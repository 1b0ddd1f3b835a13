"""A fleet's word to the coordinator that its replicas work for, one call after another."""

import asyncio
import contextlib
import logging
import random
from collections.abc import Awaitable, Callable, Iterable, Mapping

import grpc

from treeroll import __version__
from treeroll.addresses import check_addresses
from treeroll.channels import Pass
from treeroll.errors import InvalidInput, StoreDown
from treeroll.generator.session import REFUSALS, SessionRefused, refusal
from treeroll.pb.v1 import fleet_pb2 as wire
from treeroll.pb.v1 import fleet_pb2_grpc

log = logging.getLogger(__name__)

CALL_S = 5.0
FIRST_BACKOFF_S, MAX_BACKOFF_S = 0.1, 1.0
GOODBYES = 3

Exchange = Callable[[wire.FleetReport], Awaitable[wire.FleetAnswer]]


class NoAnswer(Exception):
    """Nobody answered a report; a sentence says why."""


class FarCoordinator:
    """Where a fleet's reports go, in another process: a call each."""

    def __init__(self, addresses: str, shown: Pass) -> None:
        """`addresses`: of the coordinator and of those that stand by for it, joined by commas."""
        self._addresses = check_addresses(addresses)
        self._shown = shown
        self._tries = 0

    async def __call__(self, report: wire.FleetReport) -> wire.FleetAnswer:
        """One report. Raises NoAnswer, after which another address is tried, or SessionRefused."""
        address = self._addresses[self._tries % len(self._addresses)]
        try:
            async with self._shown.open(address) as channel:
                stub = fleet_pb2_grpc.FleetPlaneStub(channel)
                answer: wire.FleetAnswer = await stub.Report(report, metadata=self._shown.metadata(), timeout=CALL_S)
                return answer
        except InvalidInput as error:  # the roots cannot be read, now
            raise NoAnswer(str(error)) from None
        except grpc.aio.AioRpcError as error:
            if error.code() in REFUSALS:
                raise refusal(error.code(), f"coordinator {address} refuses this fleet: {error.details()}") from None
            self._tries += 1
            raise NoAnswer(f"coordinator {address}: {error.code().name} {error.details() or ''}".strip()) from None


class FleetLink:
    """Reports what a fleet keeps alive as often as the coordinator wants it, and at once when something changes."""

    def __init__(self, exchange: Exchange, name: str) -> None:
        """`exchange` hands a report over, and comes back with the answer."""
        self._exchange = exchange
        self._name = name
        self._answer = wire.FleetAnswer()
        self._lost: list[wire.LostReplica] = []
        self._wake = asyncio.Event()
        self.kept: Callable[[], Mapping[str, int]] = dict
        """Replicas of each pool that are kept alive."""
        self.restarts: Callable[[], Mapping[str, int]] = dict
        """How often each replica has been started again; all of them have an entry."""
        self.draining: Callable[[], Iterable[wire.DrainingReplica]] = list
        """Processes that are to end, and are there still."""
        self.wanted: Callable[[], Mapping[str, int]] = dict
        """Replicas of each pool that there are to be."""
        self.not_scheduled: Callable[[], Iterable[wire.NotScheduled]] = list
        """Replicas for which there is no place."""
        self.obey: Callable[[wire.FleetAnswer], None] = lambda answer: None
        """Does what an answer orders."""
        self.heard = asyncio.Event()
        """Set with the first answer."""

    @property
    def seen(self) -> bool:
        """Whether the coordinator has seen replicas of this fleet before."""
        return bool(self._answer.incarnations)

    def newest(self, replica_id: str) -> int:
        """The highest incarnation that a replica may not have any more."""
        return max(self._answer.incarnations.get(replica_id, 0), self._answer.first_incarnation - 1)

    def lose(
        self, replica_id: str, process: int, cause: str, end: wire.ProcessEnd = wire.PROCESS_END_UNSPECIFIED
    ) -> None:
        """A replica's process is gone: told at once, and again until it is known. `end`: if it did not just die."""
        self._lost.append(wire.LostReplica(replica_id=replica_id, process=process, cause=cause, end=end))
        self._wake.set()

    def wake(self) -> None:
        """Something is to be told now."""
        self._wake.set()

    async def run(self) -> None:
        """Report until cancelled. Raises SessionRefused where the coordinator does not want this fleet."""
        backoff_s = FIRST_BACKOFF_S
        said: set[str] = set()  # since one has answered
        while True:
            self._wake.clear()
            trouble = await self._report()
            if not trouble:
                backoff_s = FIRST_BACKOFF_S
                said.clear()
                self.heard.set()
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._wake.wait(), self._answer.report_s or 1.0)
                continue
            if trouble not in said:
                said.add(trouble)
                log.warning("%s; asking again until it answers", trouble)
            await asyncio.sleep(backoff_s * random.uniform(0.5, 1.0))  # noqa: S311 - spreads fleets
            backoff_s = min(2 * backoff_s, MAX_BACKOFF_S)

    async def say_goodbye(self) -> None:
        """Say that nothing is kept alive any more, a few times if nobody answers: whoever does not hear it learns of
        it by the leases."""
        self.kept = dict
        if not self.heard.is_set():
            return
        with contextlib.suppress(SessionRefused):
            for _ in range(GOODBYES):
                if not await self._report():
                    return
                await asyncio.sleep(FIRST_BACKOFF_S)

    async def _report(self) -> str:
        """One report. Returns why it had no answer; "" if it had one."""
        lost = list(self._lost)
        report = wire.FleetReport(
            fleet=self._name,
            kept=self.kept(),
            restarts=self.restarts(),
            lost=lost,
            draining=self.draining(),
            wanted=self.wanted(),
            not_scheduled=self.not_scheduled(),
            version=__version__,
        )
        try:
            self._answer = await self._exchange(report)
        except (NoAnswer, StoreDown) as error:
            return str(error)
        del self._lost[: len(lost)]
        self.obey(self._answer)
        return ""
