"""From a store URL of the configuration to a store."""

from pathlib import Path

from treeroll.errors import InvalidInput
from treeroll.store.base import Store
from treeroll.store.memory import MemoryStore
from treeroll.store.redis import RedisStore


def make_store(url: str, durability: str = "everysec") -> Store:
    """A store that is not opened yet: `memory`, or a Redis at unix://, redis:// or rediss://. InvalidInput else."""
    if url == "memory":
        return MemoryStore()
    return RedisStore(_from_file(url), durability=durability)


def _from_file(url: str) -> str:
    """The URL itself, or what the file holds that it names as file:PATH. InvalidInput if that cannot be read."""
    scheme, _, path = url.partition(":")
    if scheme != "file":
        return url
    try:
        return Path(path).read_text("utf-8").strip()
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise InvalidInput(f"the store URL is to be in file {path}, which cannot be read: {reason}") from None
