"""A coordinator as a process of its own, over a Redis and without replicas: to be killed.

python -m tests.support.coordinator_process REDIS_URL PORT
"""

import asyncio
import os
import signal
import socket
import subprocess
import sys
from types import TracebackType

from treeroll.addresses import join
from treeroll.config import CoordinatorConfig
from treeroll.failpoints import VARIABLE
from treeroll.store.redis import RedisStore
from treeroll.testing.service import local_service


def free_port() -> int:
    """A port where nobody listens."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


class CoordinatorProcess:
    """One life after the other on one store and one port. Use it as a context: it leaves no process."""

    def __init__(self, url: str) -> None:
        self.port = free_port()
        self._url = url
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> "CoordinatorProcess":
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self.kill()

    @property
    def address(self) -> str:
        """Where all its lives listen."""
        return join("127.0.0.1", self.port)

    def start(self, failpoint: str = "") -> None:
        """The next life, which dies at the failpoint if there is one."""
        command = [sys.executable, "-m", "tests.support.coordinator_process", self._url, str(self.port)]
        self._process = subprocess.Popen(command, env={**os.environ, VARIABLE: failpoint})

    async def listens(self) -> bool:
        """Whether somebody may connect."""
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    async def died(self) -> bool:
        """Whether this life is over, as its failpoint wanted it."""
        code = None if self._process is None else self._process.poll()
        assert code in (None, -signal.SIGKILL), f"the coordinator ended with {code}"
        return code is not None

    def kill(self) -> None:
        """At once, wherever it is."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()


async def main(url: str, port: str) -> None:
    """Serve until killed."""
    config = CoordinatorConfig(port=int(port), heartbeat_s=0.2, lease_s=5.0)
    async with local_service(RedisStore(url), config):
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
