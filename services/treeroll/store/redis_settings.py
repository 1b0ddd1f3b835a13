"""Whether a Redis server keeps what we write: version, eviction policy and append-only file."""

from typing import Any

from redis.asyncio import Redis
from redis.exceptions import ResponseError

from treeroll.errors import InvalidInput, StoreError

OLDEST = (6, 2)

# Durability -> values of appendfsync that keep at least this much.
_FSYNC = {"everysec": ("everysec", "always"), "always": ("always",)}


def check_durability(durability: str) -> str:
    """The durability, if Redis has it. InvalidInput otherwise."""
    if durability not in _FSYNC:
        raise InvalidInput(f"durability '{durability}' is unknown to a Redis store: use everysec or always")
    return durability


async def check_server(redis: Redis, durability: str, address: str) -> None:
    """StoreError naming the setting to change, if the server would lose data."""
    info = await _info(redis)
    _check_version(str(info.get("redis_version", "0")), address)
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
