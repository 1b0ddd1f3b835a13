"""What operators want of fleets: told with every answer until a report shows that it is taken up."""

import asyncio
from collections.abc import Callable

from treeroll.errors import Unavailable
from treeroll.pb.v1 import fleet_pb2 as wire

# How long a fleet may take to hear an order, seconds: some of its turns.
TAKEN_WITHIN_S = 15.0


class FleetOrders:
    """Orders that are not taken up yet, by fleet. They are forgotten with their coordinator: who gave one is answered
    when it has been taken up."""

    def __init__(self) -> None:
        self._scale: dict[str, dict[str, wire.ScaleOrder]] = {}
        self._drain: dict[str, dict[int, wire.DrainOrder]] = {}
        self._taken = asyncio.Event()

    async def scale(self, fleet: str, order: wire.ScaleOrder) -> None:
        """Return once the fleet has taken it up; Unavailable if that takes too long."""
        orders = self._scale.setdefault(fleet, {})
        orders[order.pool] = order
        try:
            await self._until(lambda: orders.get(order.pool) is not order, fleet)
        finally:
            if orders.get(order.pool) is order:
                del orders[order.pool]

    async def drain(self, fleet: str, orders: list[wire.DrainOrder]) -> None:
        """The same, for processes that are to end."""
        mine = self._drain.setdefault(fleet, {})
        mine |= {order.process: order for order in orders}
        try:
            await self._until(lambda: not any(mine.get(order.process) is order for order in orders), fleet)
        finally:
            for order in orders:
                if mine.get(order.process) is order:
                    del mine[order.process]

    def take(self, report: wire.FleetReport, answer: wire.FleetAnswer) -> None:
        """Forget what a report shows to be taken up, and write the others into the answer."""
        scale, drain = self._scale.get(report.fleet, {}), self._drain.get(report.fleet, {})
        done = [pool for pool, order in scale.items() if report.wanted.get(pool) == order.replicas]
        for pool in done:
            del scale[pool]
        told = {one.process for one in report.draining} | {one.process for one in report.lost}
        ended = told & drain.keys()
        for process in ended:
            del drain[process]
        if done or ended:
            self._taken.set()
            self._taken = asyncio.Event()
        answer.scale.extend(scale.values())
        answer.drain.extend(drain.values())

    async def _until(self, done: Callable[[], bool], fleet: str) -> None:
        try:
            async with asyncio.timeout(TAKEN_WITHIN_S):
                while not done():
                    await self._taken.wait()
        except TimeoutError:
            name = f"fleet '{fleet}'" if fleet else "the fleet"
            raise Unavailable(f"{name} has not taken up the order within {TAKEN_WITHIN_S:g} s: try again") from None
