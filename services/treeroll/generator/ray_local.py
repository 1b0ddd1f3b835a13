"""A private Ray for one service: started quietly with what the service needs and nothing else, and gone with it."""

import contextlib
import logging
import os
import secrets
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from threading import Event
from types import TracebackType

# Read by Ray when it is imported. Loopback addresses stay what they are, on servers too; signals are the service's own
# (Ray's handler aborts a process that has not ended three seconds after SIGTERM); and workers run what is installed
# here, whatever started this process (for `uv run` Ray would pack its working directory and send it to them).
os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"
os.environ["RAY_DISABLE_FAILURE_SIGNAL_HANDLER"] = "1"
os.environ["RAY_ENABLE_UV_RUN_RUNTIME_ENV"] = "0"

import psutil
import ray

from treeroll.errors import Unavailable
from treeroll.generator.ray_head import ADDRESS_FILE, HOST
from treeroll.guarded_process import spawn
from treeroll.scratch import Scratch

log = logging.getLogger(__name__)

NAMESPACE = "treeroll"
OBJECT_STORE_BYTES = 128 << 20  # messages only: no tensors travel through it
# Bytes that the longest path below it needs: ray/session_2026-11-30_23-59-59_123456_1234567/sockets/plasma_store
SOCKET_ROOM = 68
START_TIMEOUT_S = 180.0
STOP_TIMEOUT_S = 5.0
POLL_S = 0.02
# What another try may not meet: a machine that is busy, or somebody who took a port just before Ray did.
PASSING = ("timed out", "address already in use", "was killed by")
ENVIRONMENT = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_DEDUP_LOGS": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
}
# What a launcher, a Ray job or a Ray worker that started this process has said about another cluster.
FOREIGN = (
    *("RAY_ADDRESS", "RAY_REDIS_ADDRESS", "RAY_JOB_CONFIG_JSON_ENV_VAR", "RAY_RUNTIME_ENV_HOOK", "RAY_TMPDIR"),
    *("RAY_GCS_SERVER_PORT", "RAY_OVERRIDE_NODE_ID_FOR_TESTING", "RAY_NODE_ID", "RAY_JOB_ID", "RAY_RAYLET_PID"),
)
CONNECT_TRIES = "RAY_gcs_server_port_wait_time_s"
HEAD = (sys.executable, "-m", "treeroll.generator.ray_head")


class StartCancelled(Exception):
    """The start was given up on request; nothing of it is left."""


class LocalRay:
    """A cluster that only holders of a random token can talk to, and this process's connection to it.

    Its processes are below one of their own. They end when it is stopped, and when this process ends, however that
    happens.
    """

    def __init__(self, num_cpus: int, place: Path | None = None, command: tuple[str, ...] = HEAD) -> None:
        """`num_cpus` is how many it may hand out, whatever the machine has. Nothing starts yet.

        Raises:
            Unavailable: there is no room for its files in `place`; see Scratch.
        """
        self.scratch = Scratch(place, room=SOCKET_ROOM)
        self._num_cpus = num_cpus
        self._command = command
        self._directory = self.scratch.path / "ray"
        self._head: subprocess.Popen[bytes] | None = None
        self._connected = False

    @property
    def logs(self) -> Path:
        """The folder of logs: the head's, whose last line is why it ended, and those of what works in the cluster."""
        return self.scratch.path / "logs"

    @property
    def _head_log(self) -> Path:
        return self.logs / "head.log"

    def keep_logs(self) -> Path | None:
        """Move Ray's logs and ours to where they stay; see Scratch.keep."""
        return self.scratch.keep(treeroll=self.logs, ray=self._directory / "session_latest" / "logs")

    def start(self, timeout_s: float = START_TIMEOUT_S, cancelled: Event | None = None) -> None:
        """Start it and connect; what fails in passing is tried again within `timeout_s`.

        Raises:
            Unavailable: it did not come up; nothing of it runs.
            StartCancelled: `cancelled` was set by another thread.
        """
        for name, value in ENVIRONMENT.items():
            os.environ.setdefault(name, value)
        if "RAY_AUTH_MODE" not in os.environ:
            _require_token()
        for name in FOREIGN:
            os.environ.pop(name, None)
        deadline = time.monotonic() + timeout_s
        try:
            self._start(deadline, cancelled or Event())
        except BaseException:
            self._kill()
            raise

    def stop(self) -> None:
        """Disconnect, and end the cluster with all its processes and files. Idempotent."""
        if self._connected:
            ray.shutdown()
            self._connected = False
        if self._head is not None:
            self._head.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._head.wait(STOP_TIMEOUT_S)
        self._kill()
        self.scratch.close()

    def _start(self, deadline: float, cancelled: Event) -> None:
        started = time.monotonic()
        while True:
            try:
                self._connect(self._start_head(deadline, cancelled))
                return
            except _HeadEnded as error:
                self._kill()
                passing = any(words in str(error).lower() for words in PASSING)
                if not passing or time.monotonic() > deadline:
                    waited = time.monotonic() - started
                    raise Unavailable(f"Ray did not start, after {waited:.0f} s: {error}") from None
                log.warning("Ray did not start; trying again: %s", error)

    def _connect(self, address: str) -> None:
        os.environ[CONNECT_TRIES] = "2"  # it is up; Ray's own number is for servers that are not yet
        try:
            ray.init(
                address=address,
                _node_ip_address=HOST,
                namespace=NAMESPACE,
                logging_level=logging.ERROR,
                log_to_driver=False,
            )
        except Exception as error:  # Ray raises no class of its own
            if self._head is not None and self._head.poll() is not None:
                raise _HeadEnded(_last_line(self._head_log)) from None
            raise Unavailable(f"Ray started, but this process cannot connect to it: {error}") from error
        self._connected = True

    def _start_head(self, deadline: float, cancelled: Event) -> str:
        """One start of the head. Returns Ray's address."""
        shutil.rmtree(self._directory, ignore_errors=True)
        workers = self.scratch.path / "tmp"
        for folder in (self._directory, workers, self.logs):
            folder.mkdir(mode=0o700, exist_ok=True)
        command = [*self._command, str(self._directory), str(self._num_cpus), str(OBJECT_STORE_BYTES)]
        env = {**os.environ, "TMPDIR": str(workers)}
        env.pop("RAY_DISABLE_FAILURE_SIGNAL_HANDLER")  # what workers print when they crash is wanted
        env.pop(CONNECT_TRIES, None)
        self._head = spawn(command, self._head_log, (), at_our_end=signal.SIGKILL, env=env)
        address = self._directory / ADDRESS_FILE
        while not address.exists():
            if cancelled.is_set():
                raise StartCancelled
            if self._head.poll() is not None:
                raise _HeadEnded(_last_line(self._head_log))
            if time.monotonic() > deadline:
                raise _HeadEnded("it takes longer than that on this machine; is it overloaded?")
            time.sleep(POLL_S)
        return address.read_text()

    def _kill(self) -> None:
        """End the head and all that is left below it: they are a session, and workers have groups of their own."""
        if self._head is not None:
            for pid in psutil.pids():
                with contextlib.suppress(ProcessLookupError):
                    if os.getsid(pid) == self._head.pid:
                        os.kill(pid, signal.SIGKILL)
            self._head.wait()
            self._head = None

    def __enter__(self) -> "LocalRay":
        try:
            self.start()
        except BaseException:
            self.scratch.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


class _HeadEnded(Exception):
    """Why a head ended."""


def _last_line(path: Path) -> str:
    lines = path.read_text(errors="replace").strip().splitlines()
    return lines[-1] if lines else "it said nothing"


def _require_token() -> None:
    """Make this process, and the cluster it starts, use a random token: other users of the machine are kept out."""
    os.environ["RAY_AUTH_MODE"] = "token"
    os.environ["RAY_AUTH_TOKEN"] = secrets.token_hex(32)
    # Ray has read the environment when it was imported; this makes it look again, as its own `ray start` does.
    ray._raylet.Config.initialize("")  # noqa: SLF001 - there is no public way
