"""A service in pieces that can be broken one by one: Redis, coordinator, replicas and trainers as processes of their
own, and a proxy on every connection between them."""

import asyncio
import signal
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Literal
from urllib.parse import unquote, urlsplit

import psutil
from redis import Redis

from treeroll import clock
from treeroll.chaos.edge import Edge, Ends
from treeroll.chaos.ports import free_port
from treeroll.chaos.process import Process
from treeroll.chaos.replica_process import Mood, decoded_tokens
from treeroll.client import AsyncClient, connect_async
from treeroll.errors import TreerollError
from treeroll.scratch import Scratch
from treeroll.store.embedded import EmbeddedRedis

# A supervisor needs about so long to notice a death and start anew.
RESTART_S = 1.0
LOOK_S = 0.05
# What was killed takes a moment to be gone.
GONE_S = 10.0
START_S, VLLM_START_S = 180.0, 900.0
TAKES_WORK = ("ready", "suspect")  # of the states that a replica may be in
HEARTBEAT_S = 0.5
# Incarnations of one life: a replica that loses its lease is the next one, without a new life.
INCARNATIONS = 1000
GROUP, BATCH_TREES, LEASE_S = "chaos", 2, 3.0


@dataclass(frozen=True, slots=True)
class Size:
    """How large a world is, and how fast its engines are."""

    engine: Literal["simulated", "vllm"] = "simulated"
    """Only trees of the simulated one can be held against those of an undisturbed run."""
    replicas: int = 3
    slots: int = 4
    """Branches that each replica decodes at once."""
    step_s: float = 0.02
    """Seconds for one token of each of them, if the engine is simulated."""
    trainers: int = 2
    durability: str = "always"
    """Of Redis: with "everysec" one that is killed may forget what it had answered for."""
    keep_finished_s: float | None = None
    """How long a run stays that has ended; None: until it is deleted."""

    @property
    def tokens_per_s(self) -> float:
        """What all simulated engines make together when all slots are taken."""
        return self.replicas * self.slots / self.step_s

    @property
    def start_s(self) -> float:
        """How long replicas may take to start. On a busy machine imports take most of it; vLLM compiles, too."""
        return START_S if self.engine == "simulated" else VLLM_START_S


class Seat(ABC):
    """A process that is started again when it ends, its edge to the coordinator, and what it is started with."""

    def __init__(self, name: str, module: str, folder: Path, edge: Edge) -> None:
        self.name = name
        self.edge = edge
        self.process = Process(f"treeroll.chaos.{module}", folder / "logs" / f"{name}.log")
        self.kept = True
        """Whether it is started again when it dies."""
        self.afflicted = False
        """Whether a fault befalls it just now."""
        self._died_s: float | None = None

    @abstractmethod
    def arguments(self) -> list[str]:
        """Of its next life."""
        ...

    def start(self) -> None:
        """Begin a life."""
        self._died_s = None
        self.process.start(self.arguments())

    def look(self) -> None:
        """Start it again if it has been dead for long enough. A process that ended with exit code 0 is done."""
        if self.process.running or not self.kept or self.process.exit_code in (None, 0):
            return
        now = clock.monotonic()
        self._died_s = self._died_s or now
        if now - self._died_s >= RESTART_S:
            self.start()


class ReplicaSeat(Seat):
    """A replica."""

    def __init__(self, name: str, folder: Path, edge: Edge, size: Size) -> None:
        super().__init__(name, "replica_process", folder, edge)
        self._size = size
        self._mood, self._count = folder / f"{name}.mood", folder / f"{name}.count"
        self.set_mood(Mood.WELL)

    def set_mood(self, mood: Mood) -> None:
        """How its engine treats requests from now on."""
        whole = self._mood.with_name(f"{self._mood.name}.new")
        whole.write_text(mood.value)
        whole.rename(self._mood)

    def arguments(self) -> list[str]:
        """See Seat."""
        incarnation = self.process.lives * INCARNATIONS + 1
        engine, slots, step_s = self._size.engine, str(self._size.slots), str(self._size.step_s)
        files = str(self._mood), str(self._count)
        return [self.name, str(incarnation), self.edge.address, engine, slots, step_s, *files]

    @property
    def decoded_tokens(self) -> int:
        """By its engines in all its lives."""
        return decoded_tokens(self._count)


class TrainerSeat(Seat):
    """A trainer of one run."""

    def __init__(self, name: str, folder: Path, edge: Edge, run_id: str) -> None:
        super().__init__(name, "trainer_process", folder, edge)
        self._run_id = run_id
        self.log = folder / f"{run_id}-{name}.trainer"

    def arguments(self) -> list[str]:
        """See Seat."""
        return [self.edge.address, self._run_id, GROUP, str(BATCH_TREES), str(LEASE_S), str(self.log)]


class World:
    """Everything but runs and their trainers, as a context. Nothing of it is left afterwards: see `left_behind`."""

    def __init__(self, size: Size) -> None:
        self.size = size
        self.replicas: list[ReplicaSeat] = []
        self.trainers: list[TrainerSeat] = []
        """Of the run that is under way."""
        self.left_behind: list[str] = []
        """Processes that still ran when all had been stopped."""
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> "World":
        try:
            self._scratch = self._stack.enter_context(Scratch())
            self.folder = self._scratch.path
            self._logs = self.folder / "logs"
            self._logs.mkdir()
            self.redis = EmbeddedRedis(self.folder / "redis", durability=self.size.durability)
            self._stack.callback(self.redis.stop)
            await asyncio.to_thread(self.redis.start)
            self.port = free_port()
            self.redis_edge = await self._edge(self._to_redis)
            await self._start_coordinator()
            self.client = await self._stack.enter_async_context(await self._connected())
            await self._start_replicas()
            keeper = asyncio.create_task(self._keep(), name="keeper")
            self._stack.callback(keeper.cancel)
        except BaseException:
            await self._stack.aclose()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if isinstance(error, TreerollError) and (kept := self._scratch.keep(logs=self._logs)):
            error.add_note(f"logs: {kept}")
        below = [child for child in psutil.Process().children(recursive=True) if child.pid in self._pids()]
        family = [*below, *(one for child in below for one in child.children(recursive=True))]
        await self.end_trainers()
        await self._stack.aclose()
        _, alive = await asyncio.to_thread(lambda: psutil.wait_procs(family, GONE_S))
        self.left_behind = [f"{process.pid} ({process.name()})" for process in alive]

    @property
    def address(self) -> str:
        """The coordinator, without a proxy."""
        return f"127.0.0.1:{self.port}"

    def keys(self) -> set[str]:
        """All keys in Redis."""
        with Redis.from_url(self.redis.url, decode_responses=True) as redis:
            return set(redis.keys())

    async def start_trainers(self, run_id: str) -> None:
        """Let trainers consume a run, until they have everything or are ended."""
        for number in range(self.size.trainers):
            edge = await self._edge(self._to_coordinator)
            seat = TrainerSeat(f"t{number}", self.folder, edge, run_id)
            self.trainers.append(seat)
            seat.start()

    async def end_trainers(self) -> None:
        """Stop those that there are."""
        for seat in self.trainers:
            seat.kept = False
            await asyncio.to_thread(seat.process.kill)
        self.trainers = []

    def check(self) -> None:
        """TreerollError if the coordinator has ended by itself: only one that was killed is started again."""
        if not self.coordinator.running and self.coordinator.exit_code != -signal.SIGKILL:
            raise TreerollError(
                f"the coordinator ended ({self.coordinator.exit_code}); its log ends: {self.coordinator.last_words()}"
            )

    async def heal(self) -> None:
        """End what faults may have left, whatever it was."""
        for seat in (*self.replicas, *self.trainers):
            await seat.edge.heal()
            seat.process.thaw()
        for replica in self.replicas:
            replica.set_mood(Mood.WELL)
        await self.redis_edge.heal()
        self.coordinator.thaw()

    @property
    def decoded_tokens(self) -> int:
        """By all engines, by what they count themselves."""
        return sum(seat.decoded_tokens for seat in self.replicas)

    async def all_ready(self) -> None:
        """Until every replica takes work: a suspect does, and is cleared by it. TreerollError after `Size.start_s`."""
        deadline = clock.monotonic() + self.size.start_s
        while True:
            self.check()
            status = await self.client.status()
            ready = {replica.replica_id for replica in status.replicas if replica.state in TAKES_WORK}
            if missing := {seat.name for seat in self.replicas} - ready:
                if clock.monotonic() > deadline:
                    seat = next(seat for seat in self.replicas if seat.name in missing)
                    raise TreerollError(f"replica {seat.name} is not ready; its log ends: {seat.process.last_words()}")
                await asyncio.sleep(LOOK_S)
                continue
            return

    async def _start_coordinator(self) -> None:
        module = "treeroll.chaos.coordinator_process"
        self.coordinator = Process(module, self._logs / "coordinator.log")
        self.standby = Process(module, self._logs / "standby.log")
        for process in (self.coordinator, self.standby):
            self._stack.callback(process.stop)
        # The first start waits for the imports that all have in common.
        await asyncio.to_thread(self.start_coordinator)

    def start_coordinator(self, failpoint: str = "") -> None:
        """Begin a life of it, which ends at the failpoint if there is one; it must not run."""
        self._begin(self.coordinator, "", failpoint)

    def start_standby(self, failpoint: str = "") -> None:
        """Begin a life of one that stands by for the coordinator, and goes on in its place, on its port."""
        self._begin(self.standby, "standby", failpoint)

    def take_over(self) -> None:
        """The one that stood by is the coordinator now, which is dead."""
        self.coordinator, self.standby = self.standby, self.coordinator

    def _begin(self, process: Process, standby: str, failpoint: str) -> None:
        store = f"redis://{self.redis_edge.address}/0"
        kept = "" if self.size.keep_finished_s is None else str(self.size.keep_finished_s)
        process.start([store, self.size.durability, str(self.port), str(HEARTBEAT_S), kept, standby, failpoint])

    async def _connected(self) -> AsyncClient:
        """A client, once the coordinator answers. TreerollError if it ends before, or takes longer than START_S."""
        connecting = asyncio.create_task(connect_async(self.address, connect_s=START_S))
        try:
            while not (await asyncio.wait([connecting], timeout=LOOK_S))[0]:
                self.check()
            return await connecting
        finally:
            connecting.cancel()

    async def _start_replicas(self) -> None:
        for number in range(self.size.replicas):
            seat = ReplicaSeat(f"r{number}", self.folder, await self._edge(self._to_coordinator), self.size)
            self.replicas.append(seat)
            self._stack.callback(seat.process.stop)
            seat.start()
        await self.all_ready()

    async def _edge(self, connect: Callable[[], Awaitable[Ends]]) -> Edge:
        return await self._stack.enter_async_context(Edge(connect))

    async def _to_redis(self) -> Ends:
        return await asyncio.open_unix_connection(unquote(urlsplit(self.redis.url).path))

    async def _to_coordinator(self) -> Ends:
        return await asyncio.open_connection("127.0.0.1", self.port)

    async def _keep(self) -> None:
        """What a supervisor does: start again what died."""
        while True:
            for seat in (*self.replicas, *self.trainers):
                seat.look()
            await asyncio.sleep(LOOK_S)

    def _pids(self) -> set[int]:
        seats: Sequence[Seat] = (*self.replicas, *self.trainers)
        processes = [self.coordinator, self.standby, *(seat.process for seat in seats)]
        return {self.redis.pid, *(process.pid for process in processes if process.running)}
