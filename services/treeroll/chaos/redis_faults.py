"""What may befall a Redis server: each begins and ends, and the server is as before, with all it had answered for."""

import os
import resource
import signal
from abc import ABC, abstractmethod
from contextlib import suppress

from redis import Redis

from treeroll.store.embedded import EmbeddedRedis


class RedisFault(ABC):
    """Done to a server that runs. `end` may block until the server answers again, and follows `begin` once."""

    @abstractmethod
    def begin(self, server: EmbeddedRedis) -> None:
        """Let it happen."""

    @abstractmethod
    def end(self, server: EmbeddedRedis) -> None:
        """Let it be over."""


class Silent(RedisFault):
    """It runs and answers nothing."""

    def begin(self, server: EmbeddedRedis) -> None:
        """See RedisFault."""
        os.kill(server.pid, signal.SIGSTOP)

    def end(self, server: EmbeddedRedis) -> None:
        """See RedisFault."""
        with suppress(ProcessLookupError):
            os.kill(server.pid, signal.SIGCONT)


class Killed(RedisFault):
    """Its process is gone, and comes back with what its file holds."""

    def begin(self, server: EmbeddedRedis) -> None:
        """See RedisFault."""
        os.kill(server.pid, signal.SIGKILL)

    def end(self, server: EmbeddedRedis) -> None:
        """See RedisFault."""
        server.restart()


class OutOfMemory(RedisFault):
    """It takes no more writes, for want of memory."""

    def begin(self, server: EmbeddedRedis) -> None:
        """See RedisFault."""
        with Redis.from_url(server.url) as redis:
            redis.config_set("maxmemory", 1)

    def end(self, server: EmbeddedRedis) -> None:
        """See RedisFault."""
        with Redis.from_url(server.url) as redis:
            redis.config_set("maxmemory", 0)


class Demoted(RedisFault):
    """It is somebody's replica now, and takes no writes."""

    def begin(self, server: EmbeddedRedis) -> None:
        """See RedisFault."""
        with Redis.from_url(server.url) as redis:
            redis.replicaof("127.0.0.1", 1)

    def end(self, server: EmbeddedRedis) -> None:
        """See RedisFault."""
        with Redis.from_url(server.url) as redis:
            redis.replicaof("no", "one")


class FullDisk(RedisFault):
    """Its file can grow no more. With durability `always` the server ends by itself then. Linux only."""

    def begin(self, server: EmbeddedRedis) -> None:
        """See RedisFault."""
        self._limit(server, (server.log.parent / "appendonly.aof").stat().st_size)

    def end(self, server: EmbeddedRedis) -> None:
        """See RedisFault."""
        if server.died:
            server.restart()
        else:
            self._limit(server, resource.RLIM_INFINITY)

    def _limit(self, server: EmbeddedRedis, size: int) -> None:
        resource.prlimit(server.pid, resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))
