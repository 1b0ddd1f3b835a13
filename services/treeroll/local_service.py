"""LocalService: `treeroll serve` as a child that lives exactly as long as this process wants it.

The child has a session of its own, so Ctrl-C in the terminal reaches us alone. It holds the reading end of a pipe whose
writing end only we have: when we end, however that happens, it reads end-of-file and stops by itself.
"""

import asyncio
import contextlib
import json
import os
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from treeroll.errors import InvalidInput, Unavailable
from treeroll.scratch import Scratch

# Longest wait for a service to take everything down by itself.
STOP_S = 20.0
# How much of a log's end is searched for the cause of a failure.
LOG_TAIL_BYTES = 64 << 10
BAD_INPUT = 2

COMMAND = (sys.executable, "-m", "treeroll.cli.main", "serve", "--port", "0", "--lifeline")


class LocalService:
    """A service on this machine, for one rollout."""

    def __init__(
        self,
        config: Mapping[str, Any],
        log: Path,
        command: Sequence[str] = COMMAND,
        on_dashboard: Callable[[str], None] = lambda url: None,
    ) -> None:
        """`config` has the sections that `treeroll serve` reads; `on_dashboard` gets the address of its dashboard, if
        there is one, again whenever that was started again."""
        # Its one client is this process, which has no token and knows no certificate.
        self._config = {section: content for section, content in config.items() if section != "access"}
        self._log = log
        self._command = command
        self._on_dashboard = on_dashboard
        self._process: asyncio.subprocess.Process | None = None
        self._listening: asyncio.Task[None] | None = None
        self._log_start = 0  # a log that is there is continued

    async def start(self) -> str:
        """Start and wait until ready; returns the address. InvalidInput or Unavailable say why it did not start."""
        with Scratch() as scratch:
            file = scratch.path / "service.json"
            file.write_text(json.dumps(self._config))
            self._process = await self._spawn([*self._command, "--config", str(file)])
            address = await self._hear(self._process)
        if address is None:
            raise await self._failure("did not start")
        return address

    async def died(self) -> None:
        """Return never, unless the service ends by itself: then raise why."""
        if self._process is not None:
            await self._process.wait()
            raise await self._failure("ended unexpectedly")

    async def stop(self) -> None:
        """Close the lifeline and wait until everything is down; what does not go is killed."""
        if self._process is None:
            return
        if self._process.stdin is not None:
            self._process.stdin.close()
        try:
            async with asyncio.timeout(STOP_S):
                await self._process.wait()
        except TimeoutError:
            self.kill()
            await self._process.wait()
        self.kill()  # what the service may have left behind in its group
        if self._listening is not None:
            self._listening.cancel()

    def kill(self) -> None:
        """Kill the service with all that is below it: Ray's processes are other sessions, and would outlive it."""
        import psutil  # where services run; a client alone has none to kill

        if self._process is None:
            return
        below: list[psutil.Process] = []
        with contextlib.suppress(psutil.NoSuchProcess):
            below = psutil.Process(self._process.pid).children(recursive=True)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        for process in below:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()

    async def _spawn(self, command: Sequence[str]) -> asyncio.subprocess.Process:
        with self._log.open("ab") as log:
            self._log_start = log.tell()
            return await asyncio.create_subprocess_exec(
                *command,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=log,
                start_new_session=True,
                env=_environment(),
            )

    async def _hear(self, process: asyncio.subprocess.Process) -> str | None:
        """The address, once it is said; None if the service ends before. What is said later is heard, too."""
        address: asyncio.Future[str | None] = asyncio.get_running_loop().create_future()
        self._listening = asyncio.create_task(self._listen(process, address))
        return await address

    async def _listen(self, process: asyncio.subprocess.Process, address: "asyncio.Future[str | None]") -> None:
        """Lines of JSON, and what others print there."""
        while process.stdout is not None and (line := await process.stdout.readline()):
            with contextlib.suppress(ValueError):
                said = json.loads(line)
                if not isinstance(said, dict):
                    continue
                if "address" in said and not address.done():
                    address.set_result(str(said["address"]))
                if "dashboard" in said:
                    self._on_dashboard(str(said["dashboard"]))
        if not address.done():
            address.set_result(None)

    async def _failure(self, what: str) -> Exception:
        code = await self._process.wait() if self._process is not None else 0
        cause = last_error(self._log, self._log_start)
        kind = InvalidInput if code == BAD_INPUT else Unavailable
        return kind(f"the service {what}: {cause} (log: {self._log})")


def last_error(log: Path, start: int = 0) -> str:
    """What a log says from `start` on went wrong: its last `error:` line, else its last line."""
    try:
        with log.open("rb") as file:
            file.seek(max(start, log.stat().st_size - LOG_TAIL_BYTES))
            lines = [line.strip() for line in file.read().decode(errors="replace").splitlines() if line.strip()]
    except OSError:
        lines = []
    for line in reversed(lines):
        if line.startswith("error: "):
            return line.removeprefix("error: ")
    return lines[-1] if lines else "it said nothing"


def _environment() -> dict[str, str]:
    """Ours, with the working directory importable in the service, as `--scorer python:module:function` expects."""
    paths = [os.getcwd(), *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(dict.fromkeys(paths))}
