"""From a store URL of the configuration to a store."""

from treeroll.store.base import Store
from treeroll.store.memory import MemoryStore
from treeroll.store.redis import RedisStore


def make_store(url: str, durability: str = "everysec") -> Store:
    """A store that is not opened yet: `memory`, or a Redis at unix://, redis:// or rediss://. InvalidInput else."""
    if url == "memory":
        return MemoryStore()
    return RedisStore(url, durability=durability)
