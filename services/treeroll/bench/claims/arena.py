"""Where claims meet: one service with the demo model, and every arm sampled once per seed."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Any

from treeroll.bench.service import BenchService
from treeroll.client import TreeRecord
from treeroll.clock import monotonic
from treeroll.tasks import Task
from treeroll.tree.rng import shuffled


@dataclass(frozen=True)
class Arm:
    """A way to sample: a recipe with settings, on so many tasks for so many epochs, or until so many tokens are spent.

    `after`: the run's allocator starts with the history of that arm's run of the same seed.
    """

    name: str
    recipe: str
    leaves: int
    tasks: int | None = None
    epochs: int = 1
    tokens: int | None = None
    settings: Mapping[str, Any] = field(default_factory=dict, hash=False, compare=False)
    after: "Arm | None" = None


@dataclass(frozen=True)
class Grown:
    """What an arm brought for one seed. `tokens` are all that were generated, dropped ones too."""

    run_id: str
    trees: Sequence[TreeRecord]
    """Whole ones: not those that a budget cut."""
    tokens: int
    seconds: float

    @property
    def samples(self) -> int:
        """Complete leaves."""
        return sum(len(tree.samples) for tree in self.trees)


@dataclass
class Arena:
    """Grows arms on a running service. An arm is known by its name: grown once per seed, whoever asks."""

    service: BenchService
    tasks: Sequence[Task]
    shape: Mapping[str, Any]
    """Settings that all arms share: segment length, depth, scorer."""
    note: Callable[[str], None]
    _grown: dict[tuple[str, int], Grown] = field(default_factory=dict)
    _ids: "count[int]" = field(default_factory=count)

    async def grow(self, arm: Arm, seed: int) -> Grown:
        """Its trees. Tasks come in an order of the seed's, the same for every arm."""
        if (known := self._grown.get((arm.name, seed))) is not None:
            return known
        earlier = await self.grow(arm.after, seed) if arm.after else None
        grown = await self._grow(arm, seed, earlier)
        self.note(
            f"seed {seed}: {arm.name}: {len(grown.trees)} trees, {grown.samples} samples, {grown.tokens:,} tokens in "
            f"{grown.seconds:.0f} s"
        )
        self._grown[arm.name, seed] = grown
        return grown

    async def _grow(self, arm: Arm, seed: int, earlier: Grown | None) -> Grown:
        settings = {**self.shape, "leaves": arm.leaves, "seed": seed, **arm.settings}
        if arm.tokens is not None:
            settings["budget_tokens"] = arm.tokens
        if earlier is not None:
            settings["history_from"] = earlier.run_id
        client = self.service.client
        run = await client.create_run(f"claims-{next(self._ids)}", recipe=arm.recipe, **settings)
        began = monotonic()
        for epoch in range(arm.epochs):
            await run.submit(shuffled(self.tasks, seed)[: arm.tasks], epoch=epoch)
        await run.close()
        trees: list[TreeRecord] = []
        async with run.batches(trees=16) as batches:
            async for batch in batches:
                trees += [tree for tree in batch.trees if tree.status == "complete"]
                await batch.ack()
        seconds = monotonic() - began
        status = await run.status()
        return Grown(run.run_id, trees, status.ledger.spent, seconds)
