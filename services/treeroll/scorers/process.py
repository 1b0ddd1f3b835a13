"""One child process that scores, and the clock that kills it.

A child and not a thread: a scorer may loop in C with the interpreter lock held, exit, or crash, and only a kill from
outside stops it. What happens to one item never touches another.
"""

import contextlib
import os
import signal
import subprocess
import sys
from multiprocessing import Pipe
from multiprocessing.connection import Connection

from treeroll.scorers import wire
from treeroll.scorers.base import ErrorKind, Job, ScoreResult

LOAD_TIMEOUT_S = 60.0  # to start Python and import the scorer (and whatever a user's module imports)
SLOW_S = 1.0  # an item that takes longer may have to be killed
ATTEMPTS = 2  # a death may have another cause than the item: the kernel's, or the one before it left a thread


class ScorerProcess:
    """Scores one job at a time, in a child that is started when needed and again after each kill.

    While an item is slow a second child is started, which loads the scorer meanwhile: if the first must be killed, the
    next item waits for no interpreter. Use it from one thread that lives as long as it does: Linux kills the children
    when the thread that started them ends.
    """

    def __init__(self) -> None:
        self._child: _Child | None = None
        self._spare: _Child | None = None
        self._interrupted = False

    def score(self, job: Job) -> ScoreResult:
        """The result; takes at most `job.timeout_s`, plus the start of a child when one is needed."""
        status = ""
        for _ in range(ATTEMPTS):
            try:
                return self._ask(job)
            except (EOFError, OSError, ValueError):  # gone, or talking nonsense
                status = self._kill()
        return ScoreResult.failed(ErrorKind.DIED, f"scorer process died ({status}), {ATTEMPTS} times on this item")

    def close(self) -> None:
        """End the children. Idempotent."""
        self._kill()
        if self._spare is not None:
            self._spare.kill()
            self._spare = None

    def interrupt(self) -> None:
        """From any thread, and for good: end what is being scored, which then has no result worth anything."""
        self._interrupted = True
        for child in (self._child, self._spare):
            if child is not None:
                child.interrupt()

    def _ask(self, job: Job) -> ScoreResult:
        if self._child is None:
            self._child, self._spare = self._spare or _Child(), None
        if self._interrupted:
            raise EOFError
        pipe = self._child.pipe
        pipe.send_bytes(wire.pack_job(job))
        if not pipe.poll(LOAD_TIMEOUT_S):
            self._kill()
            return ScoreResult.failed(ErrorKind.TIMEOUT, f"timeout: scorer not loaded after {LOAD_TIMEOUT_S:g} s")
        if pipe.recv_bytes(wire.MAX_REPLY_BYTES) != wire.STARTED:
            raise ValueError("the child broke the protocol")
        if not self._answers(pipe, job):
            self._kill()
            return ScoreResult.failed(ErrorKind.TIMEOUT, f"timeout after {job.timeout_s:g} s")
        return wire.unpack_result(pipe.recv_bytes(wire.MAX_REPLY_BYTES))

    def _answers(self, pipe: "Connection[bytes, bytes]", job: Job) -> bool:
        """Whether the answer comes in time."""
        patience = min(SLOW_S, job.timeout_s)
        if pipe.poll(patience):
            return True
        if self._spare is None and job.timeout_s > patience:
            self._spare = _Child()
            self._spare.pipe.send_bytes(wire.pack_load(job.scorer))
        return pipe.poll(job.timeout_s - patience)

    def _kill(self) -> str:
        """Kill the child that scores; say how it ended."""
        child, self._child = self._child, None
        return "not running" if child is None else child.kill()


class _Child:
    """A running child and our end of its pipe."""

    def __init__(self) -> None:
        self.pipe, theirs = Pipe()
        with theirs:
            self._process = _start_child(theirs.fileno())

    def interrupt(self) -> None:
        """Kill it and what it started; whoever waits for its answer sees its pipe's end."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)

    def kill(self) -> str:
        """Kill it and what it started; say how it ended."""
        self.pipe.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(0.1)  # it may be ending by itself: its own status tells more than our kill
        self.interrupt()
        return _describe_exit(self._process.wait())


def _start_child(fd: int) -> subprocess.Popen[bytes]:
    # -P: the working directory is not ours to import from; PYTHONPATH hands on what this process can import.
    paths = os.pathsep.join(path or os.getcwd() for path in sys.path)
    return subprocess.Popen(  # noqa: S603  # our own module; nothing from outside is in the arguments
        [sys.executable, "-P", "-m", "treeroll.scorers.child", str(fd)],
        pass_fds=(fd,),
        stdin=subprocess.DEVNULL,
        env={**os.environ, "PYTHONPATH": paths},
        start_new_session=True,  # the terminal's Ctrl-C is for the service, which then ends the child; and see killpg
    )


def _describe_exit(code: int) -> str:
    return f"killed by {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
