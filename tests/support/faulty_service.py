"""A real service of this process, and a proxy to it that notes what it is asked and fails as a test orders.

The service is that of `treeroll.testing.service`, on a thread and an event loop of its own, as one elsewhere would be.
Tests read the proxy's notes and set its faults directly; simple attribute access is safe across the threads.
"""

import asyncio
import threading
from collections.abc import AsyncGenerator, Coroutine
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any, TypeVar

import grpc
import grpc.aio
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from treeroll.channels import listen, make_server, open_channel
from treeroll.demo import MODEL_DIR
from treeroll.errors import ERROR_METADATA_KEY, TreerollError, grpc_code
from treeroll.generator.config import SimulatedLatency
from treeroll.generator.detokenizer import Detokenizer
from treeroll.generator.engine import Delta, EngineRequest
from treeroll.generator.simulated_engine import SimulatedEngine
from treeroll.pb.v1 import rollout_pb2
from treeroll.store.memory import MemoryStore
from treeroll.testing.service import LocalService, local_service

METHODS = rollout_pb2.DESCRIPTOR.services_by_name["Rollouts"].methods_by_name
LONGEST_PROMPT = 4
# Whatever takes longer than this hangs.
HUNG_S = 300.0
T = TypeVar("T")


class Engine(SimulatedEngine):
    """Fails every request with more than LONGEST_PROMPT tokens of prompt: such tasks end without a sample."""

    def __init__(self) -> None:
        tokenizer = Detokenizer(MODEL_DIR).tokenizer
        super().__init__(tokenizer, slots=16, max_model_len=1024, latency=SimulatedLatency(step_s=0.0))

    async def generate(self, request: EngineRequest) -> AsyncGenerator[Delta, None]:
        if request.prompt_tokens > LONGEST_PROMPT:
            raise ValueError("the prompt is too long")
        async for delta in super().generate(request):
            yield delta


class RealService:
    """A service with one replica, and what its store says of consumer groups."""

    def __init__(self) -> None:
        self.store = MemoryStore()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="service", daemon=True)
        self._parts = AsyncExitStack()
        self.local: LocalService

    def __enter__(self) -> "RealService":
        self._thread.start()
        self.local = self.do(self._start())
        return self

    def __exit__(self, *_: object) -> None:
        self.do(self._parts.aclose())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _start(self) -> LocalService:
        local = await self._parts.enter_async_context(local_service(self.store))
        local.serve_engine(Engine(), "r0")
        await local.joined()
        return local

    def do(self, work: Coroutine[Any, Any, T]) -> T:
        """Run it on the service's event loop."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(HUNG_S)

    def acked(self, run_id: str) -> list[str]:
        """Trees that the default group has acknowledged, in the order of the feed."""
        return self.do(self._acked(run_id, "default"))

    def leased(self, run_id: str) -> list[str]:
        """Trees that consumers of the default group hold."""
        return self.do(self._leased(run_id, "default"))

    def take_away(self, run_id: str, lease_id: str) -> None:
        """Let another consumer of the default group have a leased tree."""
        self.do(self._take_away(run_id, "default", lease_id))

    async def _acked(self, run_id: str, group: str) -> list[str]:
        if group not in await self.store.group_names(run_id):
            return []
        feed = await self.store.feed_entries(run_id)
        found = await self.store.open_group(run_id, group, latest=False)
        return [feed[seq - 1] for first, last in found.acknowledged for seq in range(first, last + 1)]

    async def _leased(self, run_id: str, group: str) -> list[str]:
        if group not in await self.store.group_names(run_id):
            return []
        feed = await self.store.feed_entries(run_id)
        owed = (await self.store.unacknowledged(run_id, group)).pending
        epoch = (await self.store.open_group(run_id, group, latest=False)).epoch
        free = {seq for seq, _ in (await self.store.available(run_id, group, len(feed), epoch)).entries}
        return [feed[seq - 1] for seq in owed if seq not in free]

    async def _take_away(self, run_id: str, group: str, lease_id: str) -> None:
        assert await self.store.release(run_id, group, [lease_id]) == []
        [lease] = await self.store.lease(run_id, group, "somebody else", 1, 1000.0)
        assert lease.times_delivered > 1, "what was given back goes first"


@dataclass
class Call:
    """A call of a method of Rollouts. `reply` is the service's, and None without one."""

    method: str
    metadata: dict[str, str | bytes]
    request: Any
    reply: Any = None


class Proxy(grpc.GenericRpcHandler):
    """Passes calls on to a service as they are, and its answers back. May be closed and opened again on its port."""

    def __init__(self, service: RealService) -> None:
        self.calls: list[Call] = []
        self.failures: list[TreerollError | grpc.StatusCode] = []
        """The next calls fail with these, and the service does not hear of them."""
        self.unheard: set[str] = set()
        """Methods that do what they do, and nobody hears of it."""
        self.lost_answers: list[str] = []
        """The next answers of these methods do not come back; the service has done what it was asked."""
        self.port = 0
        self._service = service
        self._server: grpc.aio.Server | None = None
        self._channel: grpc.aio.Channel | None = None

    @property
    def address(self) -> str:
        return f"localhost:{self.port}"

    def requests(self, method: str) -> list[Any]:
        """All requests of one method so far."""
        return [call.request for call in self.calls if call.method == method]

    def deliveries(self) -> list[rollout_pb2.Delivery]:
        """All that consumers were given leases of, also where they did not hear of it."""
        replies = [call.reply for call in self.calls if call.method == "LeaseTrees" and call.reply]
        return [delivery for reply in replies for delivery in reply.deliveries]

    def open(self) -> None:
        self._service.do(self._open())

    def close(self) -> None:
        """Abrupt: calls in flight are cut."""
        self._service.do(self._close())

    def __enter__(self) -> "Proxy":
        self.open()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    async def _open(self) -> None:
        self._channel = open_channel(self._service.local.address)
        self._server = make_server(self)
        self.port = listen(self._server, "127.0.0.1", self.port)
        await self._server.start()

    async def _close(self) -> None:
        assert self._server is not None
        assert self._channel is not None
        await self._server.stop(0)
        await self._channel.close()

    def service(self, details: grpc.HandlerCallDetails) -> "grpc.RpcMethodHandler[Any, Any]":
        """Who answers a call; messages are bytes here."""

        async def answer(request: bytes, context: Any) -> None:
            for part in await self._answer(details.method, request, context):
                await context.write(part)

        parts: Any = answer
        return grpc.unary_stream_rpc_method_handler(parts)  # on the wire a single answer is a stream of one

    async def _answer(self, path: str, request: bytes, context: Any) -> list[bytes]:
        assert self._channel is not None
        method = METHODS[path.rpartition("/")[2]]
        call = Call(method.name, dict(context.invocation_metadata()), _read(method.input_type, request))
        self.calls.append(call)
        if self.failures:
            await _fail(self.failures.pop(0), context)
        try:
            pass_on: Any = self._channel.unary_stream(path)
            reply = [part async for part in pass_on(request, timeout=context.time_remaining())]
        except grpc.aio.AioRpcError as error:
            context.set_trailing_metadata(tuple(error.trailing_metadata() or ()))
            await context.abort(error.code(), error.details())
        call.reply = _read(method.output_type, b"".join(reply))
        if method.name in self.lost_answers:
            self.lost_answers.remove(method.name)
            await _fail(grpc.StatusCode.UNAVAILABLE, context)
        if method.name in self.unheard:
            await asyncio.Event().wait()
        return reply


async def _fail(failure: TreerollError | grpc.StatusCode, context: Any) -> None:
    """End the call as the service does for its own errors, or as gRPC and proxies do, without our metadata."""
    if isinstance(failure, grpc.StatusCode):
        await context.abort(failure, "ordered")
    else:
        name = ((ERROR_METADATA_KEY, type(failure).__name__),)
        await context.abort(grpc.StatusCode[grpc_code(failure)], str(failure), name)


def _read(kind: Any, message: bytes) -> Message:
    return GetMessageClass(kind).FromString(message)
