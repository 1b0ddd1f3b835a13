"""Processes of a benchmark: each answers JSON commands, one line each, and ends when its standard input does."""

import asyncio
import json
import os
import sys
import tempfile
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from types import TracebackType
from typing import Any

from treeroll.errors import TreerollError

ANSWER_BYTES = 16 << 20
STOP_S = 10.0

Answer = Callable[[dict[str, Any]], Awaitable[Mapping[str, Any]]]


class Child:
    """A module run as a process of ours, in a session of its own, so that Ctrl-C reaches only us."""

    def __init__(self, module: str) -> None:
        self._module = module
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 - closed in stop
        self._process: asyncio.subprocess.Process | None = None
        self._turn = asyncio.Lock()

    async def start(self, **settings: Any) -> dict[str, Any]:
        """Start it; `settings` is its first command. Returns its first answer."""
        self._process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            self._module,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=self._log,
            start_new_session=True,
            limit=ANSWER_BYTES,
        )
        return await self.ask(**settings)

    async def ask(self, **command: Any) -> dict[str, Any]:
        """Its answer to a command. TreerollError with the end of its log if it has ended."""
        process = self._process
        if process is None or process.stdin is None or process.stdout is None:
            raise TreerollError(f"{self._module} was not started")
        async with self._turn:
            try:
                process.stdin.write(json.dumps(command).encode() + b"\n")
                await process.stdin.drain()
                line = await process.stdout.readline()
            except ConnectionError:
                line = b""
        if not line:
            raise TreerollError(f"{self._module} ended; its log ends: {self._log_tail()}")
        return dict(json.loads(line))

    async def stop(self) -> None:
        """End it, by force if it does not end by itself."""
        process, self._process = self._process, None
        if process is not None and process.stdin is not None:
            process.stdin.close()
            try:
                async with asyncio.timeout(STOP_S):
                    await process.wait()
            except TimeoutError:
                process.kill()
                await process.wait()
        self._log.close()

    async def __aenter__(self) -> "Child":
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    def _log_tail(self, lines: int = 5) -> str:
        self._log.seek(0)
        return " | ".join(self._log.read().decode(errors="replace").strip().splitlines()[-lines:])


async def answer_commands(answer: Answer) -> None:
    """The child's end: answer every command until there are no more."""
    commands = asyncio.StreamReader(limit=ANSWER_BYTES)
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(commands), sys.stdin)
    while line := await commands.readline():
        reply = json.dumps(await answer(json.loads(line)))
        sys.stdout.write(reply + "\n")
        sys.stdout.flush()


def first_and_other_cores() -> tuple[set[int], set[int]]:
    """One core for what is measured and the others for what loads it; the same set twice if there is only one."""
    cores = sorted(os.sched_getaffinity(0))
    return ({cores[0]}, set(cores[1:])) if len(cores) > 1 else (set(cores), set(cores))


@contextmanager
def pinned(cores: set[int]) -> Iterator[None]:
    """Run this process, and the children that it starts meanwhile, on these cores."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)
