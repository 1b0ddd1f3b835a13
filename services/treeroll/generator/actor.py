"""A replica as a Ray actor: one process, one engine."""

import asyncio
import logging
import os
import time
from dataclasses import dataclass

import ray

from treeroll.channels import Pass
from treeroll.errors import EngineError, InvalidInput, TreerollError
from treeroll.generator.affinity import claim_cores, keep_to
from treeroll.generator.config import GeneratorConfig
from treeroll.generator.detokenizer import Detokenizer
from treeroll.generator.exporter import exporting
from treeroll.generator.factory import make_engine
from treeroll.generator.replica import Replica
from treeroll.generator.session import SessionRefused

log = logging.getLogger(__name__)

# Time for the cause of its end to reach the supervisor before the process goes.
LAST_WORDS_S = 2.0
# How long a goodbye may take, and how often it looks whether a fleet still asks for it, seconds.
GOODBYE_S, LOOK_S = 5.0, 1.0


@dataclass(frozen=True, slots=True)
class Post:
    """Which replica a process is to be, and whose."""

    replica_id: str
    pool: str
    incarnation: int
    process: int
    """What the coordinator knows this process by."""
    coordinator: str
    """Its address, or several joined by commas."""
    shown: Pass
    """With what it may be this replica."""
    alone_s: float = 0.0
    """How long it works on while no fleet asks for it, seconds; 0: it ends with the fleet that made it."""


class TakenOver(TreerollError):
    """Another fleet keeps this replica alive now."""


class StartFailed(EngineError):
    """The replica could not begin its work, and would not be able to another time."""


class BadStart(StartFailed):
    """The same for what somebody has set, installed or put there, and can mend."""


class GeneratorReplica:
    """Methods are for the supervisor. All are async, so that a probe is answered while the engine works."""

    def __init__(
        self,
        config_json: str,
        post: Post,
        share: tuple[int, int, int | None] | int | None,
        log_file: str | None,
    ) -> None:
        """`config_json` is the GeneratorConfig of its pool.

        `share`: it is this one of so many replicas, and the process keeps to its part of this machine's cores, with no
        more threads than the third number; or it has so many threads, on whatever cores. `log_file`: where the process
        writes what it has to say, and those below it.
        """
        if log_file is not None:
            _write_to(log_file)
        self._config_json = config_json
        self._config = GeneratorConfig.model_validate_json(config_json)
        self._post = post
        self._replica: Replica | None = None
        self._work: asyncio.Task[None] | None = None
        self._followed = asyncio.Event()
        self._asked_at = time.monotonic()
        if isinstance(share, int):
            keep_to(share)
        elif share is not None:
            claim_cores(*share)

    async def serve(self) -> None:
        """Start the engine, introduce the replica, and work until it is drained. Called again, by a fleet that has
        found it alive, it is the end of the same work that is waited for.

        Raises what made it impossible; the process then ends by itself: a dead engine must not look like a live one.
        TakenOver when another call has come.
        """
        self._followed.set()
        self._followed = followed = asyncio.Event()
        if self._work is None:
            self._work = asyncio.create_task(self._serve(), name="serve")
        following = asyncio.create_task(followed.wait())
        await asyncio.wait({self._work, following}, return_when=asyncio.FIRST_COMPLETED)
        following.cancel()
        if not self._work.done():
            raise TakenOver(f"another fleet has taken replica {self._post.replica_id} over")
        self._work.result()

    async def _serve(self) -> None:
        looking = asyncio.create_task(self._look_for_fleet(), name="look-for-fleet") if self._post.alone_s else None
        try:
            # Not in the constructor: Ray would report no cause but that the actor died.
            self._replica = replica = await self._make()
            config = self._config
            with exporting(config.metrics, replica.seen, with_process=config.engine == "vllm") as replica.metrics_url:
                await replica.run()
        except Exception as error:
            log.exception("replica %s ends", self._post.replica_id)
            # Its class and message only: the chain behind it may hold what cannot be sent.
            engine_failed = self._replica is None or not self._replica.session.begun
            kind = StartFailed if engine_failed or isinstance(error, SessionRefused) else EngineError
            if kind is StartFailed and isinstance(error, InvalidInput):
                kind = BadStart
            raise kind(_sentence(error)) from None
        finally:
            # Also one that was drained: there may be no fleet that would end it.
            asyncio.get_running_loop().call_later(LAST_WORDS_S, os._exit, 1)
            if looking is not None:
                looking.cancel()

    async def _look_for_fleet(self) -> None:
        """End the work, and with it the process, when nobody has asked for it for too long: it holds what others
        could use, and nobody would start it again."""
        while (alone_s := time.monotonic() - self._asked_at) < self._post.alone_s:  # noqa: ASYNC110 - of time
            await asyncio.sleep(LOOK_S)
        log.warning("replica %s ends: no fleet has asked for it for %.0f s", self._post.replica_id, alone_s)
        asyncio.get_running_loop().call_later(GOODBYE_S, os._exit, 1)
        if self._replica is not None:
            self._replica.leave()

    async def _make(self) -> Replica:
        config, post = self._config, self._post
        detokenizer = await asyncio.to_thread(Detokenizer, config.model)
        who = post.replica_id, post.incarnation
        engine = make_engine(config, detokenizer, *who)
        return Replica(engine, detokenizer, *who, post.coordinator, post.pool, post.shown, post.process)

    async def health(self) -> bool:
        """True once a coordinator has welcomed this replica."""
        self._asked_at = time.monotonic()
        return self._replica is not None and self._replica.session.connected.is_set()

    async def trouble(self) -> str:
        """What keeps it from being welcomed, as far as it knows."""
        if self._replica is None or not self._replica.session.begun:
            return "its engine was still starting"
        cause = self._replica.session.trouble or "no answer yet"
        return f"it could not connect to the coordinator at {self._post.coordinator}: {cause}"

    async def identity(self) -> tuple[str, Post, bool]:
        """What it was made with: the settings of its pool as JSON, and its post; and whether a coordinator has it."""
        return self._config_json, self._post, await self.health()

    async def node(self) -> str:
        """Ray's id of its node."""
        return str(ray.get_runtime_context().get_node_id())

    async def pid(self) -> int:
        """Process id on its machine."""
        return os.getpid()

    async def pause(self) -> None:
        """Stop decoding."""
        await self._serving().pause()

    async def resume(self) -> None:
        """Go on decoding."""
        await self._serving().resume()

    def _serving(self) -> Replica:
        if self._replica is None:
            raise EngineError(f"replica {self._post.replica_id} does not serve yet")
        return self._replica


def _write_to(log_file: str) -> None:
    """Everything that this process, and those below it, write from here on."""
    file = os.open(log_file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    for stream in (1, 2):
        os.dup2(file, stream)
    os.close(file)


def _sentence(error: Exception) -> str:
    """Our own errors are sentences; of others the class says more than the message alone."""
    return str(error) if isinstance(error, TreerollError) else f"{type(error).__name__}: {error}"
