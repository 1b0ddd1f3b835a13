"""The coordinator of a world: the service of `treeroll.testing.service`, without replicas, over a Redis elsewhere."""

import asyncio
import signal
from contextlib import suppress

import uvloop

from treeroll import failpoints
from treeroll.config import CoordinatorConfig, StoreConfig
from treeroll.store.factory import make_store
from treeroll.testing.service import local_service


def main(store_url: str, durability: str, port: str, heartbeat_s: str, standby: str, failpoint: str) -> None:
    """Serve until SIGTERM, or until a part of the service ends by itself: then raise why. Or die at the failpoint.

    With `standby`, which is "standby" or "", serve when the store's owner is silent.
    """
    failpoints.arm(failpoint)
    settings = CoordinatorConfig(port=int(port), heartbeat_s=float(heartbeat_s), standby=bool(standby))
    uvloop.run(_serve(store_url, durability, settings))


async def _serve(store_url: str, durability: str, settings: CoordinatorConfig) -> None:
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    stopping, serving = (
        asyncio.create_task(stop.wait()),
        asyncio.create_task(_serve_on(store_url, durability, settings)),
    )
    await asyncio.wait([stopping, serving], return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    serving.cancel()
    with suppress(asyncio.CancelledError):
        await serving


async def _serve_on(store_url: str, durability: str, settings: CoordinatorConfig) -> None:
    kept_s = StoreConfig().keep_acknowledged_s
    async with local_service(make_store(store_url, durability), settings, keep_acknowledged_s=kept_s) as service:
        await asyncio.wait(service.tasks, return_when=asyncio.FIRST_COMPLETED)
