"""What a service stands on, Redis and Ray, as contexts whose starts can be given up at any moment."""

import asyncio
import contextlib
import logging
import os
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import ExitStack, asynccontextmanager
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from treeroll.config import StoreConfig
from treeroll.errors import StoreError, TreerollError, cause_of
from treeroll.generator.config import GeneratorConfig
from treeroll.generator.ray_config import RayConfig
from treeroll.scratch import Scratch
from treeroll.store.base import Store

if TYPE_CHECKING:
    from treeroll.generator.ray_cluster import RayCluster
    from treeroll.generator.ray_local import LocalRay
    from treeroll.store.embedded import EmbeddedRedis

log = logging.getLogger(__name__)

T = TypeVar("T")

# Each says to Ray how to behave, before it imports Ray.
PRIVATE, JOINED = "treeroll.generator.ray_local", "treeroll.generator.ray_cluster"
# How long a start that is given up may take to notice it.
GIVE_UP_S = 2.0
# How often an embedded Redis is looked after, and started again if that does not work, seconds.
LOOK_S, TRY_AGAIN_S = 0.1, 1.0


def shared(config: StoreConfig) -> bool:
    """Whether other processes may use the store, too."""
    return config.url not in (None, "memory")


@asynccontextmanager
async def running_store(config: StoreConfig, place: Path | None) -> AsyncIterator[Store]:
    """The configured store, not opened; an embedded Redis runs as long as the context, again whenever it dies.

    `place`: where its data lies, as long as it runs, if the configuration names no directory; see Scratch.
    """
    from treeroll.store.embedded import EmbeddedRedis
    from treeroll.store.factory import make_store

    if config.url is not None:
        yield make_store(config.url, config.durability)
        return
    with ExitStack() as temporary:
        directory = config.dir or temporary.enter_context(Scratch(place)).path
        server = EmbeddedRedis(directory, durability=config.durability)
        try:
            await in_thread(server.start)
            keeper = asyncio.create_task(_keep_running(server), name="embedded Redis")
            try:
                yield make_store(server.url, config.durability)
            finally:
                keeper.cancel()
                await asyncio.gather(keeper, return_exceptions=True)
        finally:
            await asyncio.to_thread(server.stop)


async def _keep_running(server: "EmbeddedRedis") -> None:
    """Start a server that died again on what is in its directory, as often as it takes: whoever needs it waits."""
    while True:
        await asyncio.sleep(LOOK_S)
        if server.died:
            log.error("the embedded Redis died and is started again; its log is %s", server.log)
            try:
                await in_thread(server.restart)
            except StoreError as error:  # a full disk, mostly
                log.error("%s", error)
                await asyncio.sleep(TRY_AGAIN_S)


@asynccontextmanager
async def running_ray(
    config: GeneratorConfig, ray: RayConfig, place: Path | None
) -> AsyncIterator["LocalRay | RayCluster"]:
    """A Ray with room for the replicas: a private one, or the cluster that is to be joined. When what a private one is
    used for fails, its logs are kept, and the error says where.
    """
    ray.check(os.environ)
    # Takes seconds, in which the loop must hear signals; what has files is made when nobody can give it up any more.
    await in_thread(lambda _: import_module(PRIVATE if ray.private else JOINED))
    found = _ray(config, ray, place)
    try:
        await in_thread(lambda cancelled: found.start(config.start_timeout_s, cancelled))
        yield found
    except BaseException as error:
        cause = cause_of(error)
        if isinstance(cause, TreerollError) and (kept := found.keep_logs()):
            log.error("the logs of Ray and of the replicas are kept in %s", kept)
            cause.add_note(f"logs: {kept}")
        raise
    finally:
        await asyncio.to_thread(found.stop)


def _ray(config: GeneratorConfig, ray: RayConfig, place: Path | None) -> "LocalRay | RayCluster":
    """One that is not started."""
    if not ray.private:
        from treeroll.generator.ray_cluster import RayCluster

        return RayCluster(ray)
    from treeroll.generator.ray_local import LocalRay

    # One CPU per replica, whatever the machine has: replicas pin themselves. One more for scorers.
    local = LocalRay(config.most_replicas + 1, place)
    log.info("the logs of Ray and of the replicas are in %s", local.scratch.path)
    return local


async def in_thread(work: Callable[[threading.Event], T]) -> T:
    """The result of blocking work in a thread of its own.

    When this is cancelled the event that the work got is set, and the work has GIVE_UP_S to come to an end: what
    takes longer is left to end with the process.
    """
    loop = asyncio.get_running_loop()
    done: asyncio.Future[T] = loop.create_future()
    cancelled = threading.Event()

    def run() -> None:
        try:
            result = work(cancelled)
        except BaseException as error:
            _tell(loop, done, done.set_exception, error)
        else:
            _tell(loop, done, done.set_result, result)

    threading.Thread(target=run, name="treeroll-start", daemon=True).start()
    try:
        return await asyncio.shield(done)
    except asyncio.CancelledError:
        cancelled.set()
        await asyncio.wait([done], timeout=GIVE_UP_S)
        raise


def _tell(
    loop: asyncio.AbstractEventLoop, done: "asyncio.Future[T]", setter: Callable[..., None], outcome: object
) -> None:
    def settle() -> None:
        if not done.done():
            setter(outcome)
            if done.exception() is not None:  # seen: who waited may have gone
                log.debug("a start ended: %s", done.exception())

    with contextlib.suppress(RuntimeError):  # the loop is closed: the process ends
        loop.call_soon_threadsafe(settle)
