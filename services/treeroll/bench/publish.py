"""`treeroll bench publish`: new weights again and again while trees grow, and every token checked against its own."""

import asyncio
import contextlib
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from treeroll.bench.result import Column, Result
from treeroll.bench.rounds import Figures, Rounds
from treeroll.bench.service import BenchService
from treeroll.bench.weight_truth import Agreement, WeightTruth
from treeroll.client import AsyncClient, AsyncRun, TreeRecord
from treeroll.demo import MODEL_DIR, TASKS_FILE
from treeroll.errors import TreerollError, Unavailable
from treeroll.generator.config import GeneratorConfig
from treeroll.tasks import Task, read_tasks
from treeroll.weights.save import save_weights

RULES = ("continue", "recompute", "stop", "finish_first")
SHAPE = {"recipe": "treepo", "leaves": 8, "segment_tokens": 32, "max_depth": 6, "ignore_eos": True}
# Trees that grow at once, and that end between two updates.
GROWING, BETWEEN = 8, 4
LOOK_S = 0.05
# Nats between vLLM and transformers in float32; weights of another version are further away on average.
TOLERANCE = 2e-3
CATCH_UP_S = 300.0
COLUMNS = (
    Column("publish_s", "publish s", 2),
    Column("flip_s", "slowest flip s", 3),
    Column("stall_s", "longest stall s", 2),
    Column("branches", "requests in flight", 0),
)
Note = Callable[[str], None]


@dataclass
class PublishBench:
    """Updates of the demo model, in turn for each rule; in the middle of it a replica is killed."""

    updates: int = 50
    rules: Sequence[str] = RULES
    replicas: int = 2
    step: float = 0.001
    """Standard deviation of what an update adds to each weight."""
    kill: bool = True
    parameters: dict[str, Any] = field(default_factory=dict)

    async def run(self, note: Note) -> Result:
        """On a service of its own. TreerollError for a token of other weights than its node names."""
        generator = GeneratorConfig(replicas=self.replicas, slots=16, kv_cache_gib=0.25, dtype="float32")
        async with BenchService({"generator": generator.model_dump(mode="json")}) as service:
            return await self.measure(service.client, _kill_a_replica, note)

    async def measure(self, client: AsyncClient, kill: Callable[[], None], note: Note) -> Result:
        """On any service of the demo model that has published no weights; `kill` ends one of its replicas."""
        remarks: list[str] = []
        measured = Rounds({rule: [] for rule in self.rules})
        with tempfile.TemporaryDirectory(prefix="treeroll-weights-") as folder:
            trainer = _Trainer(client, Path(folder), self.step)
            for number, rule in enumerate(self.rules):
                share = self.updates // len(self.rules) + (number < self.updates % len(self.rules))
                kill_at = share // 2 if self.kill and number == min(1, len(self.rules) - 1) else None
                figures, trees = await self._rule(trainer, rule, share, kill_at, kill, note)
                measured[rule] += figures
                note(f"{rule}: comparing {len(trees)} trees with transformers")
                remarks.append(remark(rule, await asyncio.to_thread(trainer.compare, trees)))
        return Result("publish", self.parameters, measured, COLUMNS, remarks)

    async def _rule(
        self,
        trainer: "_Trainer",
        rule: str,
        updates: int,
        kill_at: int | None,
        kill: Callable[[], None],
        note: Note,
    ) -> tuple[list[Figures], list[TreeRecord]]:
        run = await trainer.client.create_run(f"publish-{rule}", on_update=rule, **SHAPE)
        figures: list[Figures] = []
        async with _growing(trainer.client, run) as trees, _watched(trainer.client) as stalls:
            for number in range(updates):
                stalls.longest_s = 0.0
                await trees.more(BETWEEN)
                if number == kill_at:
                    note(f"{rule}: a replica is killed")
                    kill()
                figures.append(await trainer.update(run, stalls))
                note(f"{rule}: version {trainer.version} in {figures[-1]['publish_s']:.2f} s")
            await trees.more(BETWEEN)
            await trainer.caught_up(self.replicas)
        return figures, trees.ended


class _Trainer:
    """Changes weights and publishes them."""

    def __init__(self, client: AsyncClient, folder: Path, step: float) -> None:
        from safetensors.numpy import load_file

        self.client = client
        self.version = 0
        self._folder = folder
        self._step = step
        self._tensors = load_file(MODEL_DIR / "model.safetensors")
        self._chance = np.random.default_rng(0)
        self._directories: dict[int, Path] = {}
        self._truth = WeightTruth(MODEL_DIR, self._directories)

    async def update(self, run: AsyncRun, stalls: "_Stalls") -> Figures:
        """One version more, on every replica that is there."""
        self.version += 1
        path = self._directories[self.version] = self._folder / f"step-{self.version}"
        digest = await asyncio.to_thread(self._save, path)
        branches = sum(replica.branches for replica in (await self.client.status()).replicas)
        started = time.monotonic()
        status = await run.publish_weights(path, self.version, digest=digest, timeout_s=CATCH_UP_S)
        seconds = time.monotonic() - started
        if status.version != self.version:
            raise TreerollError(f"version {self.version} was published, and {status.version} is in force")
        return {
            "publish_s": seconds,
            "flip_s": max(replica.seconds for replica in status.replicas),
            "stall_s": stalls.longest_s,
            "branches": branches,
        }

    def _save(self, path: Path) -> str:
        for name, tensor in self._tensors.items():
            noise = self._step * self._chance.standard_normal(tensor.shape)
            self._tensors[name] = (tensor + noise).astype(tensor.dtype)
        return save_weights(self._tensors, path)

    async def caught_up(self, replicas: int) -> None:
        """Return when so many replicas have the version in force."""
        async with asyncio.timeout(CATCH_UP_S):
            while True:
                known = (await self.client.weights()).replicas
                if sum(one.version == self.version and one.state == "ready" for one in known) == replicas:
                    return
                await asyncio.sleep(LOOK_S)

    def compare(self, trees: Sequence[TreeRecord]) -> Agreement:
        """All tokens with the weights that their nodes name."""
        found = Agreement()
        for tree in trees:
            found.add(self._truth.check(tree))
        return found


class _Trees:
    """Trees of a run as they end, failed ones too; a new task for each."""

    def __init__(self, client: AsyncClient, run: AsyncRun) -> None:
        self._client = client
        self._run = run
        self._tasks = list(read_tasks(TASKS_FILE))
        self._numbers = count()
        self.ended: list[TreeRecord] = []
        self.whole = 0
        self._came = asyncio.Event()

    async def submit(self, tasks: int) -> None:
        """So many trees more."""
        chosen = [next(self._numbers) for _ in range(tasks)]
        known = len(self._tasks)
        await self._run.submit([Task(id=f"t{n}", prompt=self._tasks[n % known].prompt) for n in chosen])

    async def receive(self) -> None:
        """For ever."""
        async with self._run.batches(trees=1, allow_empty=True, max_wait_s=LOOK_S) as batches:
            async for batch in batches:
                failed = [await self._client.get_tree(failure.tree_id) for failure in batch.failures]
                came = [*batch.trees, *failed]
                self.ended += came
                self.whole += sum(tree.stop_reason != "stale" for tree in came)
                await self.submit(len(came))
                self._came.set()

    async def more(self, trees: int) -> None:
        """Return when so many more have ended by themselves."""
        wanted = self.whole + trees
        while self.whole < wanted:
            self._came.clear()
            await self._came.wait()


@asynccontextmanager
async def _growing(client: AsyncClient, run: AsyncRun) -> AsyncIterator[_Trees]:
    trees = _Trees(client, run)
    await trees.submit(GROWING)
    receiving = asyncio.create_task(trees.receive())
    try:
        yield trees
    finally:
        receiving.cancel()
        await asyncio.gather(receiving, return_exceptions=True)
        await run.cancel()


@dataclass
class _Stalls:
    """The longest time in which a replica with branches reported nothing, since the update before, seconds."""

    longest_s: float = 0.0


@asynccontextmanager
async def _watched(client: AsyncClient) -> AsyncIterator[_Stalls]:
    stalls = _Stalls()

    async def watch() -> None:
        spoke: dict[tuple[str, int], tuple[int, float]] = {}
        while True:
            now = time.monotonic()
            for replica in (await client.status()).replicas:
                key = replica.replica_id, replica.incarnation
                tokens, at = spoke.get(key, (-1, now))
                if tokens != replica.generated_tokens or not replica.branches or replica.state != "ready":
                    spoke[key] = replica.generated_tokens, now
                else:
                    stalls.longest_s = max(stalls.longest_s, now - at)
            await asyncio.sleep(LOOK_S)

    watching = asyncio.create_task(watch())
    try:
        yield stalls
    finally:
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)


def _kill_a_replica() -> None:
    """As the system would: its actor's process, at once."""
    for process in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.Error):
            if "ray::GeneratorReplica" in " ".join(process.cmdline()):
                process.kill()
                return
    raise Unavailable("no replica's process was found to kill")


def remark(rule: str, found: Agreement) -> str:
    """How far the tokens of a rule's trees agree. TreerollError if they do not."""
    if max(found.worst, found.mixed_worst) > TOLERANCE:
        raise TreerollError(
            f"{rule}: logprobs are up to {max(found.worst, found.mixed_worst):.1e} nats from those of the weights that "
            f"their nodes name, and {TOLERANCE:g} is allowed; the worst on mixed KV is {found.mixed_worst_in or 'none'}"
        )
    mean = found.other_weights / max(1, found.tokens)
    said = (
        f"{rule}: {found.tokens} tokens agree with transformers at the version that their nodes name, at worst by "
        f"{found.worst:.1e} nats (by {mean:.1e} on average with the version before)"
    )
    if found.mixed_tokens:
        said += f"; {found.mixed_tokens} on KV of several versions by {found.mixed_worst:.1e}, with KV made alike"
    return f"{said}."
