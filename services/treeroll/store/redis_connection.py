"""Connections to Redis: pool, retries, and its errors in our words."""

import asyncio
import builtins
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import hiredis
from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import ExponentialBackoff
from redis.exceptions import AuthenticationError, BusyLoadingError, ConnectionError, RedisError, TimeoutError

from treeroll.errors import StoreDown, StoreError
from treeroll.store.redis_replies import DirectParser
from treeroll.store.redis_url import check_options

Arg = str | bytes | int | float
Command = Sequence[Arg]
"""Name and arguments."""

# Callers beyond this many wait for a free connection.
_CONNECTIONS = 32

# redis-py raises a plain ConnectionError for some of these.
_LOGIN_HINTS = ("NOAUTH", "WRONGPASS", "invalid username-password", "invalid password")

# Refusals that end by themselves or by an operator's hand. Redis says them before a script's first write, never after.
_FOR_NOW = {
    "OOM command not allowed": "is out of memory: raise its maxmemory or delete finished runs",
    "MISCONF": "cannot write its file, so it takes no writes: make room on its disk",
    "READONLY": "is a read-only replica, so it takes no writes: give the address of the primary, or make this one it",
    "NOREPLICAS": "has fewer replicas than its min-replicas-to-write, so it takes no writes: start them again",
    "MASTERDOWN": "is a replica that has lost its primary: start that again",
    "LOADING": "is still loading its data: wait",
    "BUSY": "is busy with a script: wait",
}


def connect(url: str, timeout_s: float) -> Redis:
    """A client whose connections open when first used. InvalidInput if the URL has a bad database or option."""
    check_options(url)
    # Repeating a call is safe: commits are numbered, and the other scripts may run twice. A timeout is not repeated:
    # the server is busy, not gone.
    retry = Retry(ExponentialBackoff(cap=0.5, base=0.1), 3, (ConnectionError,))
    options: dict[str, Any] = {
        "max_connections": _CONNECTIONS,
        "timeout": timeout_s,
        "socket_timeout": timeout_s,
        "parser_class": DirectParser,
    }
    return Redis.from_pool(BlockingConnectionPool.from_url(url, protocol=2, retry=retry, **options))


async def ask(redis: Redis, commands: Sequence[Command]) -> list[Any]:
    """Replies to commands that are sent together, as hiredis makes them. Raises the first that is an error.

    redis-py's own way to call spends more on each reply than hiredis does on a tree.
    """
    pool = redis.connection_pool
    with _closed_is_gone():
        connection = await pool.get_connection()
    try:
        replies: list[Any] = await connection.retry.call_with_retry(
            lambda: _exchange(connection, commands), lambda error: connection.disconnect()
        )
    finally:
        await pool.release(connection)
    for reply in replies:
        for part in reply if isinstance(reply, list) else [reply]:  # those of a transaction are in the reply to EXEC
            if isinstance(part, Exception):
                raise part
    return replies


async def _exchange(connection: Any, commands: Sequence[Command]) -> list[Any]:
    """A reply to each command, errors too. Ends the connection unless all have come."""
    with _closed_is_gone():
        await connection.send_packed_command(b"".join(map(hiredis.pack_command, commands)))
    try:
        async with asyncio.timeout(connection.socket_timeout):
            return [await connection._parser.read_response() for _ in commands]  # noqa: SLF001 - without its retries
    except BaseException as error:
        await connection.disconnect(nowait=True)
        if isinstance(error, builtins.TimeoutError):
            raise TimeoutError(f"no answer within {connection.socket_timeout:g} s") from None
        raise


@contextmanager
def _closed_is_gone() -> Iterator[None]:
    """uvloop may see that a connection has ended before we do, and refuses to write then; asyncio does not."""
    try:
        yield
    except RuntimeError as error:
        if "handler is closed" not in str(error):
            raise
        raise ConnectionError(str(error)) from None


@contextmanager
def store_errors(address: str) -> Iterator[None]:
    """Turn what redis-py raises into StoreError."""
    try:
        yield
    except (RedisError, OSError) as error:
        raise _store_error(address, error) from error


def _store_error(address: str, error: Exception) -> StoreError:
    """StoreDown only for what left nothing half done: a script that fails after its first write is not rolled back."""
    detail = " ".join(str(error).split()) or type(error).__name__
    if isinstance(error, AuthenticationError) or any(hint in detail for hint in _LOGIN_HINTS):
        return StoreDown(f"{address} refused the login ({detail}): check user and password")
    if "DB index" in detail:
        return StoreError(
            f"{address} has no such database ({detail}): name one that it has, from 0 on, or raise its `databases`"
        )
    if isinstance(error, BusyLoadingError):
        return StoreDown(f"{address} {_FOR_NOW['LOADING']}")
    if isinstance(error, ConnectionError | TimeoutError | OSError):
        return StoreDown(f"{address} does not answer ({detail}): check that it runs and can be reached")
    for refusal, sentence in _FOR_NOW.items():
        if refusal in detail:
            # A script's refusals come behind where it was: "... @user_script: 50: -OOM command ..."
            down = StoreDown(f"{address} {sentence} ({detail.rpartition(': -')[2]})")
            down.full = refusal.startswith("OOM")
            return down
    return StoreError(f"{address} refused a command ({detail})")
