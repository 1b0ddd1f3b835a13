"""The coordinator's orders to stage and to take weights: carried out beside decoding, and answered once each."""

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any

from treeroll.errors import EngineError, TreerollError
from treeroll.generator.engine import Engine
from treeroll.pb.v1 import replica_pb2 as wire

Spawn = Callable[[Coroutine[Any, Any, None], str], "asyncio.Task[None]"]

log = logging.getLogger(__name__)


class WeightOrders:
    """An order may come again, as after a reconnect: it is then answered again, and done once.

    Answers that no call takes are lost: a coordinator that misses one asks again.
    """

    def __init__(self, engine: Engine, spawn: Spawn, wake: asyncio.Event) -> None:
        """`spawn` starts a task whose failure is the replica's; `wake` is set when there is an answer to send."""
        self._engine = engine
        self._spawn = spawn
        self._wake = wake
        self._answers: deque[wire.WeightsReport] = deque()
        self._staging: asyncio.Task[None] | None = None
        self._staging_order: wire.StageWeights | None = None

    def stage(self, order: wire.StageWeights) -> None:
        """Check a directory while decoding goes on. An order for another one takes the place of one on its way."""
        if self._staging is not None and not self._staging.done() and order == self._staging_order:
            return  # its answer will come
        self._staging_order = order
        self._staging = self._spawn(self._stage(order), f"stage-{order.version}")

    def flip(self, order: wire.FlipWeights) -> None:
        """Take a staged version into use, as soon as it is staged."""
        self._spawn(self._flip(order, self._staging), f"flip-{order.version}")

    def next_answer(self) -> wire.WeightsReport | None:
        """An answer to send, if there is one."""
        return self._answers.popleft() if self._answers else None

    async def _stage(self, order: wire.StageWeights) -> None:
        engine, began = self._engine, time.monotonic()
        if (order.version, order.digest or engine.weight_digest) == (engine.weight_version, engine.weight_digest):
            self._answer(order.version, wire.WEIGHTS_STATE_LOADED, began, engine.weight_digest)
            return
        try:
            digest = await engine.stage_weights(order.version, order.path, order.digest)
        except EngineError:
            raise
        except Exception as error:  # whatever a directory does to its reader, decoding goes on
            self._refuse(order.version, error, began)
        else:
            self._answer(order.version, wire.WEIGHTS_STATE_STAGED, began, digest)

    async def _flip(self, order: wire.FlipWeights, staging: "asyncio.Task[None] | None") -> None:
        began = time.monotonic()
        if staging is not None:
            await asyncio.wait({staging})
        try:
            await self._engine.flip_weights(order.version, order.recompute)
        except EngineError:
            raise
        except TreerollError as error:
            self._refuse(order.version, error, began)
        else:
            self._answer(order.version, wire.WEIGHTS_STATE_LOADED, began, self._engine.weight_digest)

    def _refuse(self, version: int, error: Exception, began: float) -> None:
        if isinstance(error, TreerollError):
            why = str(error)
            log.warning("%s", why)
        else:
            why = f"weight version {version}: {type(error).__name__}: {' '.join(str(error).split())}"
            log.error("weight version %d could not be checked", version, exc_info=error)
        self._answer(version, wire.WEIGHTS_STATE_REFUSED, began, error=why)

    def _answer(self, version: int, state: wire.WeightsState, began: float, digest: str = "", error: str = "") -> None:
        self._answers.append(
            wire.WeightsReport(
                version=version, digest=digest, state=state, seconds=time.monotonic() - began, error=error
            )
        )
        self._wake.set()
