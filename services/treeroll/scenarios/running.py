"""Running a scenario in this process, on a thread and a Redis of its own."""

import asyncio
import logging
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager, suppress

from treeroll.client import connect_async
from treeroll.config import CoordinatorConfig
from treeroll.errors import InvalidInput
from treeroll.scenarios.plays import SCENARIOS, Scenario
from treeroll.scenarios.stage import Stage
from treeroll.scratch import Scratch
from treeroll.store.embedded import SOCKET, EmbeddedRedis
from treeroll.store.redis import RedisStore
from treeroll.testing.service import local_service

log = logging.getLogger(__name__)

# How long trees stay that were acknowledged: a play may go on for days.
KEPT_S = 600.0

Begun = Future[tuple[asyncio.AbstractEventLoop, asyncio.Task[None]]]


def named(name: str) -> Scenario:
    """The scenario. InvalidInput names all that there are."""
    if name not in SCENARIOS:
        told = "; ".join(f"{one.name} ({one.lesson})" for one in SCENARIOS.values())
        raise InvalidInput(f"there is no scenario '{name}'; there are {told}")
    return SCENARIOS[name]


@contextmanager
def running_scenario(scenario: Scenario) -> Iterator[str]:
    """The URL of the store of a service in which the scenario is played, for as long as the context lasts."""
    with Scratch(room=len(SOCKET)) as scratch, EmbeddedRedis(scratch.path) as redis:
        begun: Begun = Future()
        thread = threading.Thread(target=_run, args=(scenario, redis, begun), name="scenario", daemon=True)
        thread.start()
        loop, playing = begun.result()
        try:
            yield redis.url
        finally:
            with suppress(RuntimeError):  # it has ended by itself
                loop.call_soon_threadsafe(playing.cancel)
            thread.join()


def _run(scenario: Scenario, redis: EmbeddedRedis, begun: Begun) -> None:
    try:
        asyncio.run(_play(scenario, redis, begun))
    except BaseException as error:
        if begun.done():
            log.exception("the scenario %s has ended by itself", scenario.name)
        else:
            begun.set_exception(error)


async def _play(scenario: Scenario, redis: EmbeddedRedis, begun: Begun) -> None:
    calm = CoordinatorConfig(port=0, heartbeat_s=1.0, lease_s=5.0)
    store = RedisStore(redis.url)
    async with (
        local_service(store, calm, keep_acknowledged_s=KEPT_S) as service,
        await connect_async(service.address) as client,
    ):
        playing = asyncio.create_task(Stage(service, redis, client).perform(scenario.play))
        begun.set_result((asyncio.get_running_loop(), playing))
        with suppress(asyncio.CancelledError):
            await playing
