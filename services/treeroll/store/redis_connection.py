"""Connections to Redis: pool, retries, and its errors in our words."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

import hiredis
from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.connection import AbstractConnection
from redis.asyncio.retry import Retry
from redis.backoff import ExponentialBackoff
from redis.exceptions import AuthenticationError, BusyLoadingError, ConnectionError, RedisError, TimeoutError
from redis.typing import EncodableT

from treeroll.errors import InvalidInput, StoreError

SCHEMES = ("redis", "rediss", "unix")

# Callers beyond this many wait for a free connection.
_CONNECTIONS = 32

# Trees come in replies of megabytes; redis-py would take them in small bites.
_READ_BYTES = 1 << 20

# redis-py raises a plain ConnectionError for some of these.
_LOGIN_HINTS = ("NOAUTH", "WRONGPASS", "invalid username-password", "invalid password")


def public_address(url: str) -> str:
    """The URL without user, password and options, for people. InvalidInput if it is not a Redis URL."""
    parts = urlsplit(url)
    if parts.scheme not in SCHEMES or not (parts.path if parts.scheme == "unix" else parts.hostname):
        raise InvalidInput(
            "the store URL must be redis://host:port/db, rediss://host:port/db or unix:///path/to/socket"
        )
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


def connect(url: str, timeout_s: float) -> Redis:
    """A client whose connections open when first used. InvalidInput if the URL has a bad option."""
    # Repeating a call is safe: commits are numbered, and the other scripts may run twice. A timeout is not repeated:
    # the server is busy, not gone.
    retry = Retry(ExponentialBackoff(cap=0.5, base=0.1), 3, (ConnectionError,))
    options: dict[str, Any] = {
        "max_connections": _CONNECTIONS,
        "timeout": timeout_s,
        "socket_timeout": timeout_s,
        "socket_read_size": _READ_BYTES,
    }
    try:
        pool = BlockingConnectionPool.from_url(url, protocol=2, retry=retry, **options)
        pool.connection_class = _packed_by_hiredis(pool.connection_class)
    except (ValueError, TypeError) as error:
        raise InvalidInput(f"the store URL {public_address(url)} has a bad option: {error}") from None
    return Redis.from_pool(pool)


def _packed_by_hiredis(kind: type[AbstractConnection]) -> type[AbstractConnection]:
    """The connection class with commands packed in C. A commit has hundreds of arguments; redis-py packs in Python."""

    class Packed(kind):  # type: ignore[misc, valid-type]
        def pack_command(self, *args: EncodableT) -> list[bytes]:
            name, *rest = args
            words = name.split() if isinstance(name, str) else [name]  # "CONFIG GET" are two arguments
            return [hiredis.pack_command((*words, *rest))]

    return Packed


@contextmanager
def store_errors(address: str) -> Iterator[None]:
    """Turn what redis-py raises into StoreError."""
    try:
        yield
    except (RedisError, OSError) as error:
        raise StoreError(_sentence(address, error)) from error


def _sentence(address: str, error: Exception) -> str:
    detail = " ".join(str(error).split()) or type(error).__name__
    if isinstance(error, AuthenticationError) or any(hint in detail for hint in _LOGIN_HINTS):
        return f"{address} refused the login ({detail}): check user and password"
    if isinstance(error, BusyLoadingError):
        return f"{address} is still loading its data: try again later"
    if isinstance(error, ConnectionError | TimeoutError | OSError):
        return f"{address} does not answer ({detail}): check that it runs and can be reached"
    if "OOM command not allowed" in detail:
        return f"{address} is out of memory: raise its maxmemory or delete finished runs"
    return f"{address} refused a command ({detail})"
