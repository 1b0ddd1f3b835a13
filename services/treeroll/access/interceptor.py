"""The guard at the door: every call passes here once, before anything of it is read. What has no rule is refused."""

import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import grpc
import grpc.aio

from treeroll.access.config import AccessConfig
from treeroll.access.identity import answer
from treeroll.access.methods import MAY_CALL, OPEN
from treeroll.access.requests import write_parts
from treeroll.access.token_file import TokenLine
from treeroll.access.tokens import Tokens
from treeroll.access.under_way import CallsUnderWay
from treeroll.errors import ERROR_METADATA_KEY, NotAllowed, NotAuthenticated, TooManyCalls, TreerollError, grpc_code
from treeroll.sparing_log import Sparing

log = logging.getLogger(__name__)
log.addFilter(Sparing())

Handler = Any  # grpc.RpcMethodHandler of whatever messages


class AccessInterceptor(grpc.aio.ServerInterceptor):
    """Lets those in whose token may call the method. A stream is asked at its beginning, and not for each message."""

    def __init__(self, tokens: Tokens, access: AccessConfig) -> None:
        self._tokens = tokens
        self._calls = CallsUnderWay(access.calls, access.calls_per_s, tokens.why_over)

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Handler]],
        call: grpc.HandlerCallDetails,
    ) -> Handler:
        """Who answers the call: whoever would, or one who refuses it."""
        if call.method == OPEN:
            return await continuation(call)
        name = call.method.rpartition("/")[2]
        try:
            token = self._tokens.who(_authorization(call.invocation_metadata))
            identity = token.identity
            if identity.role not in MAY_CALL.get(call.method, ()):
                raise NotAllowed(
                    f"{name} is not for a token with role {identity.role}, as that of '{identity.name}' has"
                )
        except (NotAuthenticated, NotAllowed) as error:
            log.info("%r was refused: %s", call.method, error)
            return refusal(error)
        answer(identity)
        return self._counted(token, name, await continuation(call))

    def _counted(self, token: TokenLine, name: str, handler: Handler) -> Handler:
        """Answers as the handler does, as long as its caller may have it answered."""
        if handler is None:
            return handler

        async def unary(request: Any, context: Any) -> Any:
            try:
                with self._calls.one(token, name):
                    return await handler.unary_unary(request, context)
            except (TooManyCalls, NotAuthenticated) as error:
                await abort(context, error)

        answers = handler.unary_stream or handler.stream_stream

        async def stream(asked: Any, context: Any) -> None:
            try:
                with self._calls.one(token, name):
                    await write_parts(answers(asked, context), context)
            except (TooManyCalls, NotAuthenticated) as error:
                await abort(context, error)

        read, write = handler.request_deserializer, handler.response_serializer
        if handler.unary_unary is not None:
            return grpc.unary_unary_rpc_method_handler(unary, read, write)
        if handler.unary_stream is not None:
            return grpc.unary_stream_rpc_method_handler(stream, read, write)
        return grpc.stream_stream_rpc_method_handler(stream, read, write)


def _authorization(metadata: Sequence[tuple[str, str | bytes]] | None) -> str | bytes | None:
    return next((value for key, value in metadata or () if key == "authorization"), None)


def refusal(error: TreerollError) -> Handler:
    """Answers any call with an error. As a stream, whatever the method is: so no message of it is read before."""

    async def refuse(messages: Any, context: Any) -> None:
        await abort(context, error)

    return grpc.stream_stream_rpc_method_handler(refuse)


async def abort(context: Any, error: TreerollError) -> None:
    """End a call with an error."""
    context.set_trailing_metadata(((ERROR_METADATA_KEY, type(error).__name__),))
    await context.abort(grpc.StatusCode[grpc_code(error)], str(error))
