"""Child processes that end with this one, and directories that one process tree uses at a time."""

import fcntl
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path

_POLL_S = 0.01

# Becomes the program after asking Linux for a signal when its parent dies, even by kill -9. A program of its own, not
# a preexec_fn: running Python between fork and exec may deadlock in a process with threads, and ours has gRPC's.
_LAUNCHER = """
import ctypes, os, sys
PR_SET_PDEATHSIG = 1
ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, int(sys.argv[2]), 0, 0, 0)
if os.getppid() == int(sys.argv[1]):  # else the parent is gone already
    os.execv(sys.argv[3], sys.argv[3:])
"""


def spawn(
    command: list[str],
    output: Path,
    keep_open: Sequence[int],
    *,
    at_our_end: signal.Signals = signal.SIGTERM,
    env: Mapping[str, str] | None = None,
) -> subprocess.Popen[bytes]:
    """Start a program in its own session, its output appended to a file, with more file descriptors open.

    On Linux it gets the signal `at_our_end` when this process ends, however that happens. OSError if it cannot be
    started. `command` begins with a path.
    """
    started: Future[subprocess.Popen[bytes]] = Future()
    # Linux sends the signal when the *thread* that started the child ends: this one lives as long as the child.
    guard = threading.Thread(
        target=_guard, args=(command, output, keep_open, at_our_end, env, started), name="treeroll-child", daemon=True
    )
    guard.start()
    return started.result()


def _guard(
    command: list[str],
    output: Path,
    keep_open: Sequence[int],
    at_our_end: signal.Signals,
    env: Mapping[str, str] | None,
    started: "Future[subprocess.Popen[bytes]]",
) -> None:
    if sys.platform == "linux":
        launcher = [sys.executable, "-I", "-S", "-c", _LAUNCHER, str(os.getpid()), str(int(at_our_end))]
        command = [*launcher, *command]
    try:
        with output.open("ab") as log:
            process = subprocess.Popen(  # noqa: S603 - our own command line, no shell
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                pass_fds=keep_open,
                env=env,
            )
    except BaseException as error:  # handed to whoever called spawn
        started.set_exception(error)
        return
    started.set_result(process)
    process.wait()


def terminate(process: subprocess.Popen[bytes], timeout_s: float) -> None:
    """Ask a child to end, wait, and kill it if it has not within `timeout_s`."""
    process.terminate()
    try:
        process.wait(timeout_s)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


@contextmanager
def locked(path: Path, timeout_s: float) -> Iterator[int]:
    """Hold a lock file: yields its descriptor. Whoever inherits that keeps the lock, until the last of them ends.

    TimeoutError if others hold it for `timeout_s`.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        _wait_for_lock(descriptor, time.monotonic() + timeout_s)
        yield descriptor
    finally:
        os.close(descriptor)


def _wait_for_lock(descriptor: int, deadline: float) -> None:
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise TimeoutError from None
        time.sleep(_POLL_S)
