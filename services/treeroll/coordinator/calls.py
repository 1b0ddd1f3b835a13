"""What all calls of clients have in common: while the store is away they are refused, and errors travel with names."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import wraps
from typing import Any, TypeVar

import grpc

from treeroll import errors
from treeroll.coordinator.loop import Coordinator
from treeroll.coordinator.outage import LONGEST_S
from treeroll.errors import ERROR_METADATA_KEY, RETRY_METADATA_KEY, TreerollError, grpc_code
from treeroll.pb.v1 import rollout_pb2_grpc

# Answered while the store is away.
FROM_MEMORY = {"GetService", "GetWeights", "GetRun"}
Reply = TypeVar("Reply")


def typed(method: Callable[..., Awaitable[Reply]]) -> Callable[..., Awaitable[Reply]]:
    """What a method answers while it is `answering`."""
    from_memory, adds = method.__name__ in FROM_MEMORY, method.__name__ == "SubmitTasks"

    @wraps(method)
    async def call(self: "Calls", request: Any, context: Any) -> Reply:
        async with self.answering(request, context, from_memory=from_memory, adds=adds):
            return await method(self, request, context)

    return call


def typed_parts(method: Callable[..., AsyncIterator[Reply]]) -> Callable[..., AsyncIterator[Reply]]:
    """The same for a method that answers in parts."""

    @wraps(method)
    async def call(self: "Calls", request: Any, context: Any) -> AsyncIterator[Reply]:
        async with self.answering(request, context, from_memory=False, adds=False):
            async for part in method(self, request, context):
                yield part

    return call


async def abort(context: Any, error: TreerollError) -> None:
    """End a call with an error, and say when to try again, if that is known."""
    metadata = [(ERROR_METADATA_KEY, type(error).__name__)]
    if isinstance(error, errors.StoreDown):
        metadata.append((RETRY_METADATA_KEY, f"{1000 * LONGEST_S:.0f}"))
    context.set_trailing_metadata(metadata)
    await context.abort(grpc.StatusCode[grpc_code(error)], str(error))


class Calls(rollout_pb2_grpc.RolloutsServicer):
    """A part of the Rollouts server, over one coordinator."""

    def __init__(self, coordinator: Coordinator) -> None:
        self._coordinator = coordinator

    @asynccontextmanager
    async def answering(self, request: Any, context: Any, *, from_memory: bool, adds: bool) -> AsyncIterator[None]:
        """While a call is answered: typed errors become gRPC statuses; the trailing metadata carries the error's name.

        While the store is away, methods that may need it are refused at once, and say when to try again. What is wrong
        with a call in the eyes of this memory is told only by who owns the store: one that was held up, and that
        another has taken over from, would deny runs that there are.
        """
        try:
            await self.ready(request, from_memory=from_memory, adds=adds)
            try:
                yield
            except errors.CallerError as error:
                await self.confirm(error)
                raise
        except TreerollError as error:
            await abort(context, error)
            raise

    async def ready(self, request: Any, *, from_memory: bool, adds: bool) -> None:
        """The call can be answered: the store is there, if it needs that, and what it asks of was read. StoreDown."""
        if not from_memory:
            self.check_store(adds=adds)
        await self._coordinator.ended.want(getattr(request, "run_id", ""))

    async def confirm(self, error: errors.CallerError) -> None:
        """The store's owner may tell the error, and that is us. StaleEpoch."""
        if not isinstance(error, errors.InvalidInput | errors.NotAllowed):
            await self._coordinator.confirm()

    def check_store(self, *, adds: bool) -> None:
        """StoreDown while the store is away; StoreFull if it is full, and the call would add to that."""
        outage = self._coordinator.outage
        if adds and outage.full:
            raise errors.StoreFull(f"the service takes no tasks while its store is full: {outage.reason}")
        if outage.since is not None:
            raise outage.refusal()
