"""The coordinator of a world: the service of `treeroll.testing.service`, without replicas, over a Redis elsewhere."""

import asyncio
import signal

import uvloop

from treeroll.config import CoordinatorConfig, StoreConfig
from treeroll.store.factory import make_store
from treeroll.testing.service import local_service


def main(store_url: str, durability: str, port: str, heartbeat_s: str) -> None:
    """Serve until SIGTERM, or until a part of the service ends by itself: then raise why."""
    uvloop.run(_serve(store_url, durability, int(port), float(heartbeat_s)))


async def _serve(store_url: str, durability: str, port: int, heartbeat_s: float) -> None:
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    settings = CoordinatorConfig(port=port, heartbeat_s=heartbeat_s)
    kept_s = StoreConfig().keep_acknowledged_s
    async with local_service(make_store(store_url, durability), settings, keep_acknowledged_s=kept_s) as service:
        stopping = asyncio.create_task(stop.wait())
        await asyncio.wait([stopping, *service.tasks], return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
