"""Store URLs: what redis-py would take silently for something else, or find out too late, is refused by name."""

import re
from typing import Any
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from redis.asyncio.connection import parse_url
from redis.exceptions import RedisError

from treeroll.errors import InvalidInput

SCHEMES = ("redis", "rediss", "unix")
_OPTIONS = frozenset(
    {
        "client_name",
        "db",
        "health_check_interval",
        "max_connections",
        "password",
        "socket_connect_timeout",
        "socket_keepalive",
        "socket_timeout",
        "username",
    }
)
_TLS_OPTIONS = frozenset(
    {
        "ssl_ca_certs",
        "ssl_ca_path",
        "ssl_cert_reqs",
        "ssl_certfile",
        "ssl_check_hostname",
        "ssl_keyfile",
        "ssl_min_version",
        "ssl_password",
    }
)
_DATABASE = re.compile(r"0|[1-9]\d{0,8}", re.ASCII)


def public_address(url: str) -> str:
    """The URL without user, password and options, for people. InvalidInput if it is not a Redis URL."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:  # brackets, or a port that is no number
        parts, port = SplitResult("", "", "", "", ""), None
    unix = parts.scheme == "unix"
    if parts.scheme not in SCHEMES or not (parts.path if unix else parts.hostname) or port == 0 or parts.fragment:
        raise InvalidInput(
            "the store URL must be redis://host:port/db, rediss://host:port/db or unix:///path/to/socket, with special "
            "characters of a password as %23 and the like"
        )
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


def check_options(url: str) -> None:
    """InvalidInput for a database or an option that is none, or that is given twice."""
    address, parts = public_address(url), urlsplit(url)
    known = _OPTIONS | _TLS_OPTIONS if parts.scheme == "rediss" else _OPTIONS
    given: dict[str, str] = {}
    for name, value in parse_qsl(parts.query, keep_blank_values=True):
        if name in _TLS_OPTIONS - known:
            raise InvalidInput(f"the store URL {address} has option '{name}', which is for rediss://")
        if name not in known:
            options = ", ".join(sorted(known))
            raise InvalidInput(f"the store URL {address} has an unknown option '{name[:100]}'; options are {options}")
        if name in given or not value:
            raise InvalidInput(f"the store URL {address} has option '{name}' {'twice' if value else 'without a value'}")
        given[name] = value
    path = "" if parts.scheme == "unix" else unquote(parts.path).removeprefix("/")
    if path and "db" in given:
        raise InvalidInput(f"the store URL {address} names a database in its path and as option 'db'; name it once")
    database = path or given.get("db", "0")
    if not _DATABASE.fullmatch(database):
        raise InvalidInput(f"the store URL {address} has database '{database[:100]}', which must be a number from 0 on")
    _try(url, address)


def _try(url: str, address: str) -> None:
    """Make a connection that is not opened: it has its own opinion of values."""
    from redis.asyncio.connection import Connection

    try:
        options: dict[str, Any] = dict(parse_url(url))
        options.pop("max_connections", None)
        connection = options.pop("connection_class", Connection)(**options)
        if hasattr(connection, "ssl_context"):
            connection.ssl_context.get()
    except (ValueError, TypeError, RedisError) as error:
        raise InvalidInput(f"the store URL {address} has a bad option: {error}") from None
    except OSError as error:  # files of certificates
        reason = error.strerror or error
        raise InvalidInput(f"the store URL {address} names certificates that cannot be loaded: {reason}") from None
