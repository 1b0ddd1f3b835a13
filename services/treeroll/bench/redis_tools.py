"""A Redis of a benchmark's own, on cores of its own, and what it says of itself."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import redis

from treeroll.store.embedded import EmbeddedRedis


@contextmanager
def redis_server(durability: str) -> Iterator[EmbeddedRedis]:
    """An empty server with append-only file, which is rewritten only on demand; its data goes with it."""
    with tempfile.TemporaryDirectory(prefix="treeroll-bench-") as folder:
        server = EmbeddedRedis(Path(folder), durability=durability)
        server.start()
        try:
            with connect(server) as client:
                client.config_set("auto-aof-rewrite-percentage", 0)
            yield server
        finally:
            server.stop()


def connect(server: EmbeddedRedis) -> redis.Redis:
    """A plain client."""
    return redis.Redis.from_url(server.url)


def cpu_s(client: redis.Redis) -> float:
    """CPU seconds of the server without its children."""
    found = client.info("cpu")
    return float(found["used_cpu_sys"]) + float(found["used_cpu_user"])


def rewriting(client: redis.Redis) -> bool:
    """Whether the append-only file is being rewritten."""
    found = client.info("persistence")
    return bool(found["aof_rewrite_in_progress"] or found["aof_rewrite_scheduled"])
