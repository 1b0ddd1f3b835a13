"""The coordinator of a world: the service of `treeroll.testing.service`, without replicas, over a Redis elsewhere."""

import asyncio
import signal
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any

import uvloop

from treeroll import failpoints
from treeroll.config import CoordinatorConfig, StoreConfig
from treeroll.store.base import Store
from treeroll.store.factory import make_store
from treeroll.testing.service import local_service


def main(
    store_url: str,
    durability: str,
    port: str,
    heartbeat_s: str,
    keep_finished_s: str = "",
    standby: str = "",
    failpoint: str = "",
) -> None:
    """Serve until SIGTERM, or until a part of the service ends by itself: then raise why. Or die at the failpoint.

    `keep_finished_s` may be "", for ever. With `standby`, which is "standby" or "", serve when the store's owner is
    silent.
    """
    failpoints.arm(failpoint)
    settings = CoordinatorConfig(port=int(port), heartbeat_s=float(heartbeat_s), standby=bool(standby))
    kept_s = float(keep_finished_s) if keep_finished_s else None
    uvloop.run(_serve(_serve_on(make_store(store_url, durability), settings, kept_s)))


async def _serve(service: Coroutine[Any, Any, None]) -> None:
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    stopping, serving = asyncio.create_task(stop.wait()), asyncio.create_task(service)
    await asyncio.wait([stopping, serving], return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    serving.cancel()
    with suppress(asyncio.CancelledError):
        await serving


async def _serve_on(store: Store, settings: CoordinatorConfig, keep_finished_s: float | None) -> None:
    acknowledged_s = StoreConfig().keep_acknowledged_s
    async with local_service(
        store, settings, keep_acknowledged_s=acknowledged_s, keep_finished_s=keep_finished_s
    ) as service:
        await asyncio.wait(service.tasks, return_when=asyncio.FIRST_COMPLETED)
