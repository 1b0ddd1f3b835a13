"""Requests and messages as they come over the wire: how large one may be, and what is none."""

from collections.abc import AsyncIterable, Awaitable, Callable
from typing import Any

import grpc
from google.protobuf.message import DecodeError

from treeroll.errors import ERROR_METADATA_KEY, InvalidInput, grpc_code

MIB = 1 << 20
LARGEST = MIB
LARGEST_OF = {"CreateRun": MIB // 4, "SubmitTasks": 33 * MIB, "ReportRewards": 16 * MIB, "Session": 16 * MIB}
"""Bytes, by method."""


def read_first(path: str, method: "grpc.RpcMethodHandler[Any, Any]") -> "grpc.RpcMethodHandler[Any, Any]":
    """Answers as the method does, but to what is no request, or a larger one than any, with InvalidInput.

    gRPC by itself would say that something unknown went wrong, and write a traceback for whoever sends bytes by chance.
    A stream gets None in the place of a message that cannot be read, or is larger: what becomes of it is its matter.
    """
    name, read = path.rpartition("/")[2], method.request_deserializer or bytes
    largest = LARGEST_OF.get(name, LARGEST)
    if method.stream_stream is not None:
        return _reading_none(method, read, largest)

    async def request_of(raw: bytes, context: Any) -> Any:
        if len(raw) > largest:
            await _refuse(context, f"{name}: the request has {len(raw):,} bytes, and may have {largest:,}")
        try:
            return read(raw)
        except DecodeError:
            return await _refuse(context, f"{name}: the request cannot be read: its bytes are no such message")

    async def answer(raw: bytes, context: Any) -> Any:
        return await unary(await request_of(raw, context), context)

    async def answers(raw: bytes, context: Any) -> None:
        await write_parts(stream(await request_of(raw, context), context), context)

    unary: Any = method.unary_unary
    stream: Any = method.unary_stream
    if unary is not None:
        return grpc.unary_unary_rpc_method_handler(answer, response_serializer=method.response_serializer)
    parts: Any = answers
    return grpc.unary_stream_rpc_method_handler(parts, response_serializer=method.response_serializer)


async def write_parts(parts: "AsyncIterable[Any] | Awaitable[None]", context: Any) -> None:
    """Answer a call with what a method gives, one after the other. Some, as gRPC's own, write themselves."""
    if isinstance(parts, Awaitable):
        await parts
        return
    async for part in parts:
        await context.write(part)


def _reading_none(
    method: "grpc.RpcMethodHandler[Any, Any]", read: Callable[[bytes], Any], largest: int
) -> "grpc.RpcMethodHandler[Any, Any]":
    def read_or_none(raw: bytes) -> Any:
        try:
            return read(raw) if len(raw) <= largest else None
        except DecodeError:
            return None

    made: Any = grpc.stream_stream_rpc_method_handler
    handler: grpc.RpcMethodHandler[Any, Any] = made(method.stream_stream, read_or_none, method.response_serializer)
    return handler


async def _refuse(context: Any, sentence: str) -> None:
    error = InvalidInput(sentence)
    context.set_trailing_metadata(((ERROR_METADATA_KEY, type(error).__name__),))
    await context.abort(grpc.StatusCode[grpc_code(error)], sentence)
