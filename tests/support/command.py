"""`treeroll` as a real process, and the processes that belong to it."""

import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

MARK = "TREEROLL_TEST_MARK"
# Whatever takes longer than this hangs: no promise, since other tests have the processors, too.
HUNG_S = 600.0


class Command:
    """One `treeroll` process. Everything it starts inherits a mark in its environment, however far it moves away."""

    def __init__(
        self,
        args: Sequence[str],
        log: Path,
        cwd: Path | None = None,
        module: str = "treeroll.cli.main",
        within: Sequence[str] = (),
        env: Mapping[str, str] | None = None,
    ) -> None:
        """`within`: a program that runs it, such as one that enters another host, and ends as it does."""
        self._within = within
        self.mark = uuid.uuid4().hex
        self.log = log
        environment = {**os.environ, MARK: self.mark, "PYTHONUNBUFFERED": "1", **(env or {})}
        with log.open("wb") as file:
            self.process = subprocess.Popen(
                [*within, sys.executable, "-m", module, *args],
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                env=environment,
                cwd=cwd,
            )

    @property
    def pid(self) -> int:
        """The number of its process. ValueError if it has ended."""
        if not self._within:
            return self.process.pid
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        [pid] = map(int, children.read_text().split())
        return pid

    def output(self) -> str:
        """What it has said so far."""
        return self.log.read_text(errors="replace")

    def wait(self, timeout_s: float = HUNG_S) -> int:
        """Its exit code."""
        return self.process.wait(timeout_s)

    def until(self, check: Callable[[], object], timeout_s: float = HUNG_S) -> None:
        """Wait for a condition; AssertionError with the output if it does not come, or the process ends before."""
        deadline = time.monotonic() + timeout_s
        while not check():
            if time.monotonic() > deadline or self.process.poll() is not None:
                raise AssertionError(
                    f"not reached; exit code {self.process.poll()}; processes {self.family()}; output:\n{self.output()}"
                )
            time.sleep(0.05)

    def interrupt(self) -> None:
        """Ctrl-C."""
        os.kill(self.pid, signal.SIGINT)

    def kill(self) -> None:
        """End its process at once, and no other."""
        os.kill(self.pid, signal.SIGKILL)
        self.wait()

    def family(self) -> dict[int, str]:
        """Processes with our mark: pid to command line. Ended ones that nobody has waited for do not count."""
        return {pid: _command_line(pid) for pid in _pids() if _marked(pid, self.mark) and not _zombie(pid)}

    def assert_gone(self) -> None:
        """AssertionError naming who does not end."""
        deadline = time.monotonic() + HUNG_S
        while self.family():
            if time.monotonic() > deadline:
                raise AssertionError(f"still alive after {HUNG_S:g} s: {self.family()}")
            time.sleep(0.1)

    def __enter__(self) -> "Command":
        return self

    def __exit__(self, *_: object) -> None:
        """Leave nothing behind, whatever the test found."""
        for pid in self.family():
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        self.process.wait(HUNG_S)


def _pids() -> list[int]:
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


def _marked(pid: int, mark: str) -> bool:
    try:
        return f"{MARK}={mark}".encode() in Path(f"/proc/{pid}/environ").read_bytes()
    except OSError:
        return False


def _zombie(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def _command_line(pid: int) -> str:
    """Short name and command line: a process that gave itself a title may show it in only one of them."""
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        return f"{Path(f'/proc/{pid}/comm').read_text().strip()}: {words[:200]}"
    except OSError:
        return "?"
