"""A service under siege: Redis, coordinator, a replica and an honest client as processes, and what becomes of them."""

import asyncio
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from types import TracebackType

import psutil

from treeroll.chaos.ports import free_port
from treeroll.chaos.process import Process
from treeroll.chaos.replica_process import Mood
from treeroll.client import AsyncClient, connect_async
from treeroll.errors import TreerollError
from treeroll.scratch import Scratch
from treeroll.store.embedded import EmbeddedRedis

START_S, LOOK_S = 180.0, 0.05
HEARTBEAT_S = 0.5
# For calls of ours beside the hostile ones.
PATIENCE_S = 120.0
SLOTS, STEP_S = 4, 0.005
MIB = 1 << 20
# Of the service's log that a finding shows.
LINES = 12


@dataclass(frozen=True, slots=True)
class Figures:
    """How an honest client fared in a while, and what the service's process has."""

    calls: int
    p50_ms: float
    p99_ms: float
    rss_mib: float
    files: int

    def text(self) -> str:
        """One line."""
        return (
            f"honest client: {self.calls:,} calls, p50 {self.p50_ms:.1f} ms, p99 {self.p99_ms:.1f} ms; service: "
            f"{self.rss_mib:.0f} MiB, {self.files} files open"
        )


class Siege:
    """The service, as a context. Attackers run in this process, so that nobody else waits for them."""

    def __init__(self) -> None:
        self._stack = AsyncExitStack()
        self._parts: list[Process] = []

    async def __aenter__(self) -> "Siege":
        try:
            await self._start()
        except BaseException:
            await self._stack.aclose()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if isinstance(error, TreerollError) and (kept := self._scratch.keep(logs=self._logs)):
            error.add_note(f"logs: {kept}")
        await self._stack.aclose()

    async def _start(self) -> None:
        self._scratch = self._stack.enter_context(Scratch())
        folder = self._scratch.path
        self._logs = folder / "logs"
        self._logs.mkdir()
        redis = EmbeddedRedis(folder / "redis")
        self._stack.callback(redis.stop)
        await asyncio.to_thread(redis.start)
        port = free_port()
        self.address = f"127.0.0.1:{port}"
        self.coordinator = await self._process(
            "coordinator", redis.url, "everysec", str(port), str(HEARTBEAT_S), "", ""
        )
        self.client = await self._stack.enter_async_context(await self._connected())
        mood = folder / "mood"
        mood.write_text(Mood.WELL.value)
        await self._process(
            "replica",
            "honest",
            "1",
            self.address,
            "simulated",
            str(SLOTS),
            str(STEP_S),
            str(mood),
            str(folder / "count"),
        )
        self._calls = folder / "calls"
        await self._process("honest", self.address, str(self._calls))
        while not (self._calls.exists() and self._calls.stat().st_size):
            self.check()
            await asyncio.sleep(LOOK_S)

    async def _connected(self) -> AsyncClient:
        """A client, once the coordinator answers. TreerollError if it ends before, or takes longer than START_S."""
        connecting = asyncio.create_task(connect_async(self.address, connect_s=START_S, timeout_s=PATIENCE_S))
        try:
            while not (await asyncio.wait([connecting], timeout=LOOK_S))[0]:
                self.check()
            return await connecting
        finally:
            connecting.cancel()

    async def _process(self, name: str, *arguments: str) -> Process:
        process = Process(f"treeroll.chaos.{name}_process", self._logs / f"{name}.log")
        self._stack.callback(process.stop)
        await asyncio.to_thread(process.start, arguments)
        self._parts.append(process)
        return process

    def check(self) -> None:
        """TreerollError if a process has ended by itself, with the end of its log."""
        for process in self._parts:
            if not process.running:
                raise TreerollError(f"{process.log.stem} ended ({process.exit_code}): {process.last_words(LINES)}")

    def figures(self, since: float, until: float) -> Figures:
        """Of calls that ended between two moments of the machine's monotonic clock, and of now."""
        rows = [line.split() for line in self._calls.read_text().splitlines()[:-1]]
        took = sorted(float(row[1]) for row in rows if since <= float(row[0]) < until) or [float("nan")]
        process = psutil.Process(self.coordinator.pid)
        rss, files = process.memory_info().rss / MIB, process.num_fds()
        return Figures(len(took), took[len(took) // 2], took[len(took) * 99 // 100], rss, files)

    def complaints(self) -> list[str]:
        """Beginnings of what the service's log has as tracebacks, each kind once."""
        lines = self.coordinator.log.read_text(errors="replace").splitlines()
        ends = (at for at, line in enumerate(lines) if line.startswith("Traceback"))
        return sorted({" | ".join(lines[at - 1 : at + 1] + _error(lines[at + 1 :])) for at in ends})


def _error(lines: Sequence[str]) -> list[str]:
    """The last frame of a traceback, and its error."""
    for at, line in enumerate(lines):
        if line and not line.startswith(" "):
            return [part.strip() for part in lines[max(0, at - 3) : at + 1]]
    return []
