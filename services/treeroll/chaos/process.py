"""A program of a world, which faults kill, stop and start again as often as they like."""

import ctypes
import importlib
import logging
import multiprocessing
import os
import signal
import sys
from collections.abc import Sequence
from contextlib import suppress
from multiprocessing.context import ForkServerProcess
from pathlib import Path

from treeroll.errors import TreerollError

STOP_S = 10.0
# What the programs import, which takes seconds: one process imports it, and all of them are forks of that one.
PROGRAMS = tuple(f"treeroll.chaos.{name}_process" for name in ("coordinator", "replica", "trainer", "honest"))
_PR_SET_PDEATHSIG = 1

_context = multiprocessing.get_context("forkserver")
_context.set_forkserver_preload(["__main__", *PROGRAMS])


class Process:
    """A module's `main` as a process in a session of its own. It is killed when this process ends, however that happens
    (on Linux)."""

    def __init__(self, module: str, log: Path) -> None:
        """`log` gets what it writes, in all its lives."""
        self._module = module
        self._process: ForkServerProcess | None = None
        self.log = log
        self.lives = 0
        """How often it was started."""

    def start(self, arguments: Sequence[str]) -> None:
        """Start it; it must not run."""
        if self.running:
            raise TreerollError(f"{self._module} runs already")
        # No daemon: those may have no children, and vLLM has some.
        self._process = _context.Process(target=_live, args=(self._module, list(arguments), str(self.log)))
        self._process.start()
        self.lives += 1

    @property
    def running(self) -> bool:
        """Whether it has been started and has not ended."""
        return self._process is not None and self._process.is_alive()

    @property
    def exit_code(self) -> int | None:
        """Of its last life; negative: the signal that ended it. None while it runs, and before its first life."""
        return None if self._process is None else self._process.exitcode

    @property
    def pid(self) -> int:
        """Its process id. TreerollError if it was never started."""
        if self._process is None or self._process.pid is None:
            raise TreerollError(f"{self._module} was not started")
        return self._process.pid

    def kill(self) -> None:
        """kill -9; returns when it is gone. Also if it is stopped, or gone already."""
        if self._process is not None:
            self._process.kill()
            self._process.join()

    def freeze(self) -> None:
        """Stop it until `thaw`."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on."""
        self._signal(signal.SIGCONT)

    def stop(self) -> None:
        """Ask it to end, and kill it if it does not."""
        if self._process is not None:
            self.thaw()
            self._process.terminate()
            self._process.join(STOP_S)
            self.kill()

    def last_words(self, lines: int = 3) -> str:
        """The end of its log, as one line."""
        try:
            text = self.log.read_text(errors="replace")
        except OSError:
            text = ""
        return " | ".join(text.strip().splitlines()[-lines:]) or "it wrote nothing"

    def _signal(self, number: signal.Signals) -> None:
        if self.running:
            with suppress(ProcessLookupError):
                os.kill(self.pid, number)


def _live(module: str, arguments: list[str], log: str) -> None:
    """One life, in the new process."""
    os.setsid()
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
    file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    for stream in (1, 2):
        os.dup2(file, stream)
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    importlib.import_module(module).main(*arguments)
