"""The guard at the door: every call passes here once, before anything of it is read. What has no rule is refused."""

import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import grpc
import grpc.aio

from treeroll.access.identity import answer
from treeroll.access.methods import MAY_CALL, OPEN
from treeroll.access.tokens import Tokens
from treeroll.errors import ERROR_METADATA_KEY, NotAllowed, NotAuthenticated, TooManyCalls, TreerollError, grpc_code
from treeroll.sparing_log import Sparing

log = logging.getLogger(__name__)
log.addFilter(Sparing())

Handler = Any  # grpc.RpcMethodHandler of whatever messages


class AccessInterceptor(grpc.aio.ServerInterceptor):
    """Lets those in whose token may call the method. A stream is asked at its beginning, and not for each message."""

    def __init__(self, tokens: Tokens, most_calls: int) -> None:
        """`most_calls`: of one name, under way at once."""
        self._tokens = tokens
        self._most = most_calls
        self._under_way: Counter[str] = Counter()

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Handler]],
        call: grpc.HandlerCallDetails,
    ) -> Handler:
        """Who answers the call: whoever would, or one who refuses it."""
        if call.method == OPEN:
            return await continuation(call)
        try:
            identity = self._tokens.who(_authorization(call.invocation_metadata))
            if identity.role not in MAY_CALL.get(call.method, ()):
                raise NotAllowed(
                    f"{call.method.rpartition('/')[2]} is not for a token with role {identity.role}, as that of "
                    f"'{identity.name}' has"
                )
        except (NotAuthenticated, NotAllowed) as error:
            log.info("%r was refused: %s", call.method, error)
            return refusal(error)
        answer(identity)
        return self._counted(identity.name, await continuation(call))

    def _counted(self, name: str, handler: Handler) -> Handler:
        """Answers as the handler does, while the caller has not too much under way. A replica has its one stream."""
        if handler is None or handler.unary_unary is None:
            return handler

        async def counted(request: Any, context: Any) -> Any:
            if self._under_way[name] >= self._most:
                await _abort(context, TooManyCalls(f"'{name}' has {self._most} calls under way, and may have no more"))
            self._under_way[name] += 1
            try:
                return await handler.unary_unary(request, context)
            finally:
                self._under_way[name] -= 1

        return grpc.unary_unary_rpc_method_handler(counted, handler.request_deserializer, handler.response_serializer)


def _authorization(metadata: Sequence[tuple[str, str | bytes]] | None) -> str | bytes | None:
    return next((value for key, value in metadata or () if key == "authorization"), None)


def refusal(error: TreerollError) -> Handler:
    """Answers any call with an error. As a stream, whatever the method is: so no message of it is read before."""

    async def refuse(messages: Any, context: Any) -> None:
        await _abort(context, error)

    return grpc.stream_stream_rpc_method_handler(refuse)


async def _abort(context: Any, error: TreerollError) -> None:
    context.set_trailing_metadata(((ERROR_METADATA_KEY, type(error).__name__),))
    await context.abort(grpc.StatusCode[grpc_code(error)], str(error))
