"""Whether a Redis server keeps what we write: version, eviction policy and append-only file."""

import logging
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import ResponseError

from treeroll.errors import InvalidInput, StoreError

log = logging.getLogger(__name__)

OLDEST = (6, 2)
# The patch of each version from which on it is mended: CVE-2025-49844.
MENDED = {(6, 2): 20, (7, 2): 11, (7, 4): 6, (8, 0): 4, (8, 2): 2}
MENDED_IN = ", ".join(f"{major}.{minor}.{patch}" for (major, minor), patch in MENDED.items())

# Durability -> values of appendfsync that keep at least this much.
_FSYNC = {"everysec": ("everysec", "always"), "always": ("always",)}


def check_durability(durability: str) -> str:
    """The durability, if Redis has it. InvalidInput otherwise."""
    if durability not in _FSYNC:
        raise InvalidInput(f"durability '{durability}' is unknown to a Redis store: use everysec or always")
    return durability


async def check_server(redis: Redis, durability: str, address: str) -> str:
    """The server's version. StoreError naming the setting to change, if the server would lose data."""
    info = await _info(redis)
    version = str(info.get("redis_version", "0"))
    _check_version(version, address)
    if known_hole(version) and not address.startswith("unix:"):  # whoever reaches the embedded one is the service
        log.warning(
            "%s is Redis %s, in which whoever may run scripts may run code (CVE-2025-49844): take %s or later",
            address,
            version,
            MENDED_IN,
        )
    settings = await _settings(redis)
    policy = settings.get("maxmemory-policy", info.get("maxmemory_policy"))
    if policy != "noeviction":
        raise StoreError(f"{address} may evict data (maxmemory-policy is {policy}): set `maxmemory-policy noeviction`")
    if not int(info.get("aof_enabled", 0)):
        raise StoreError(f"{address} keeps nothing on a crash (append-only file is off): set `appendonly yes`")
    # Who may not read appendfsync has to trust whoever runs the server.
    fsync = settings.get("appendfsync", durability)
    if fsync not in _FSYNC[durability]:
        raise StoreError(
            f"{address} has appendfsync {fsync}, too weak for durability {durability}: set `appendfsync {durability}`"
        )
    return version


def known_hole(version: str) -> bool:
    """Whether a version of Redis has the hole by which whoever may run scripts may run code in the server."""
    major, minor, patch = (*(int(part) for part in version.split(".") if part.isdecimal()), 0, 0, 0)[:3]
    mended = MENDED.get((major, minor))
    return (major, minor) < max(MENDED) if mended is None else patch < mended


def _check_version(version: str, address: str) -> None:
    numbers = tuple(int(part) for part in version.split(".")[:2] if part.isdecimal())
    if numbers < OLDEST:
        raise StoreError(f"{address} is Redis {version}: version 6.2 or later is needed")


async def _info(redis: Redis) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for section in ("server", "memory", "persistence"):  # 6.2 takes one section at a time
        found |= await redis.execute_command("INFO", section)
    return found


async def _settings(redis: Redis) -> dict[str, str]:
    """The settings we look at; empty if access control forbids reading them."""
    found: dict[str, str] = {}
    for name in ("maxmemory-policy", "appendfsync"):
        try:
            reply = await redis.execute_command("CONFIG GET", name)
        except ResponseError:
            return {}
        found |= {_text(key): _text(value) for key, value in reply.items()}
    return found


def _text(value: bytes | str) -> str:
    return value.decode() if isinstance(value, bytes) else value
