"""The guard at the door: every call passes here once, before anything of it is read. What has no rule is refused."""

import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import grpc
import grpc.aio

from treeroll.access.identity import answer
from treeroll.access.methods import MAY_CALL, OPEN
from treeroll.access.tokens import Tokens
from treeroll.errors import ERROR_METADATA_KEY, NotAllowed, NotAuthenticated, TreerollError, grpc_code

log = logging.getLogger(__name__)

Handler = Any  # grpc.RpcMethodHandler of whatever messages


class Guard(grpc.aio.ServerInterceptor):
    """Lets those in whose token may call the method. A stream is asked at its beginning, and not for each message."""

    def __init__(self, tokens: Tokens) -> None:
        self._tokens = tokens

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
        return await continuation(call)


def _authorization(metadata: Sequence[tuple[str, str | bytes]] | None) -> str | bytes | None:
    return next((value for key, value in metadata or () if key == "authorization"), None)


def refusal(error: TreerollError) -> Handler:
    """Answers any call with an error. As a stream, whatever the method is: so no message of it is read before."""

    async def refuse(messages: Any, context: Any) -> None:
        context.set_trailing_metadata(((ERROR_METADATA_KEY, type(error).__name__),))
        await context.abort(grpc.StatusCode[grpc_code(error)], str(error))

    return grpc.stream_stream_rpc_method_handler(refuse)
