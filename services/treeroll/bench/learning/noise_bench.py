"""Noise tokens of arms on a family: real gradients of the network, from trees of the real service."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np

from treeroll.bench.claims.statistics import distinct
from treeroll.bench.learning.families import BASELINE, LEAVES, Arm, Credit, Family
from treeroll.bench.learning.gradients import gradient
from treeroll.bench.learning.growing import Grower, Note
from treeroll.bench.learning.network import Network
from treeroll.bench.learning.noise import (
    Draw,
    Estimate,
    Reference,
    Vector,
    draw,
    efficiency,
    jackknife,
    noise_tokens,
    noise_tokens_by_task,
    noise_tokens_unbiased,
    reference,
    scale,
)
from treeroll.bench.result import Result, Table
from treeroll.bench.rounds import Figures, Variant, run_rounds
from treeroll.client import TreeRecord
from treeroll.tasks import Task
from treeroll.tree.rng import hash64

RLOO: Final = Credit("rloo", unbiased=True)
# Samples of a task in one tree of the reference.
REFERENCE_LEAVES: Final = 64
ALL: Final = "all"


@dataclass(frozen=True)
class Known:
    """The reference: the gradients of each task in two halves, and by difficulty what follows from them."""

    tasks: Sequence[Task]
    bands: Mapping[str, list[int]]
    """Difficulty, or ALL, -> places of its tasks."""
    first: Sequence[Vector]
    second: Sequence[Vector]
    references: Mapping[str, Reference]
    samples: int
    """Of a task in each half."""
    success: Mapping[str, float]


async def know(grower: Grower, tasks: Sequence[Task], samples: int, note: Note) -> Known:
    """Both halves of the reference, from independent flat samples."""
    flat = grower.family.arms()[BASELINE]
    leaves = min(samples, REFERENCE_LEAVES)
    trees = -(-samples // leaves)
    halves: list[list[Vector]] = [[], []]
    rates: dict[str, list[float]] = {task.id: [] for task in tasks}
    for half, found in enumerate(halves):
        sums = [np.zeros(grower.network.size, np.float32) for _ in tasks]
        for number in range(trees):
            note(f"reference, half {half + 1}: samples {number * leaves + 1} to {(number + 1) * leaves} of each task")
            grown = await grower.grow(flat, tasks, seed_of("reference", half, number), leaves=leaves)
            for into, tree in zip(sums, in_order(grown.trees, tasks), strict=True):
                into += gradient(grower.network, tree, RLOO) / trees
                rates[tree.task_id] += [sample.reward or 0.0 for sample in tree.samples]
        found += sums
    bands = {ALL: list(range(len(tasks)))}
    for place, task in enumerate(tasks):
        bands.setdefault(str(task.extra.get("difficulty")), []).append(place)
    references = {
        band: reference([halves[0][place] for place in places], [halves[1][place] for place in places])
        for band, places in bands.items()
    }
    success = {
        band: float(np.mean([np.mean(rates[tasks[place].id]) for place in places])) for band, places in bands.items()
    }
    return Known(tasks, bands, halves[0], halves[1], references, trees * leaves, success)


def seed_of(*parts: str | int) -> int:
    """Seed of a run, 62 bits: nothing here shares samples with anything else."""
    return hash64("bench learning", *parts) >> 2


def in_order(trees: Sequence[TreeRecord], tasks: Sequence[Task]) -> list[TreeRecord]:
    """The trees in the order of their tasks."""
    by_task = {tree.task_id: tree for tree in trees}
    return [by_task[task.id] for task in tasks]


def variant(grower: Grower, arm: Arm, known: Known) -> Variant:
    """One round: a tree of each task, and every credit's gradients of it."""

    async def run(number: int) -> Figures:
        grown = await grower.grow(arm, known.tasks, seed_of(arm.name, number))
        trees = in_order(grown.trees, known.tasks)
        figures = {
            "tokens": grown.tokens,
            "seconds": grown.seconds,
            "leaves": sum(len(tree.samples) for tree in trees) / len(trees),
            "distinct": sum(map(distinct, trees)) / len(trees),
        }
        for credit in arm.credits:
            gradients = [gradient(grower.network, tree, credit) for tree in trees]
            for band, places in known.bands.items():
                tokens = sum(trees[place].ledger.spent for place in places)
                one = draw(
                    tokens, *([half[place] for place in places] for half in (gradients, known.first, known.second))
                )
                for name in ("tokens", "along", "squared", "by_task"):
                    figures[f"{credit.name}|{band}|{name}"] = getattr(one, name)
        return figures

    return run


def draws(found: Sequence[Figures], credit: Credit, band: str) -> list[Draw]:
    """What the rounds of an arm say of one credit."""
    return [
        Draw(*(figures[f"{credit.name}|{band}|{name}"] for name in ("tokens", "along", "squared", "by_task")))
        for figures in found
    ]


@dataclass(slots=True)
class NoiseResult(Result):
    """Efficiency of every arm and credit, with jackknife errors over the seeds."""

    arms: Sequence[Arm] = ()
    references: Mapping[str, Reference] = field(default_factory=dict)

    def table(self) -> Table:
        """Arms and credits down."""
        bands = [band for band in self.references if band != ALL]
        titles = [
            "arm", "credit, weights", ">engine tokens", ">distinct", ">tokens/s", ">scale", ">nu / 1000",
            ">efficiency", ">by task", ">at scale 1",
            *(f">difficulty {band}" for band in bands),
        ]  # fmt: skip
        cells = []
        for arm in self.arms:
            found = self.rounds[arm.name]
            if not found:
                continue
            tokens, seconds = (sum(figures[name] for figures in found) for name in ("tokens", "seconds"))
            for credit in arm.credits:
                nu = self.estimate(arm, credit, noise_tokens)
                cells.append([
                    arm.name, credit.name, f"{tokens / len(found):,.0f}",
                    f"{sum(figures['distinct'] for figures in found) / len(found):.1f}", f"{tokens / seconds:,.0f}",
                    _told(self.estimate(arm, credit, scale)), f"{nu.value / 1000:,.0f} ({nu.error / 1000:,.0f})",
                    _told(self.efficiency(arm, credit)), _told(self.efficiency_by_task(arm, credit)),
                    _told(self.efficiency_unbiased(arm, credit)) if credit.unbiased else "-",
                    *(_told(self.efficiency_by_task(arm, credit, band)) for band in bands),
                ])  # fmt: skip
        count = max((len(found) for found in self.rounds.values()), default=0)
        return Table(f"{self.bench}: {count} seeds, jackknife error in brackets; difficulties: by task", titles, cells)

    def estimate(
        self, arm: Arm, credit: Credit, statistic: Callable[[Sequence[Draw], Reference], float], band: str = ALL
    ) -> Estimate:
        """A statistic of one arm and credit."""
        found = draws(self.rounds[arm.name], credit, band)
        return jackknife(len(found), lambda seeds: statistic([found[seed] for seed in seeds], self.references[band]))

    def efficiency(self, arm: Arm, credit: Credit) -> Estimate:
        """The baseline's noise tokens over the arm's, of the mean gradient."""
        return self._ratio(arm, credit, ALL, noise_tokens)

    def efficiency_by_task(self, arm: Arm, credit: Credit, band: str = ALL) -> Estimate:
        """The same with the noise of each task added up."""
        return self._ratio(arm, credit, band, noise_tokens_by_task)

    def efficiency_unbiased(self, arm: Arm, credit: Credit) -> Estimate:
        """The same of two that theory says are unbiased, at scale 1."""
        return self._ratio(arm, credit, ALL, noise_tokens_unbiased)

    def _ratio(
        self,
        arm: Arm,
        credit: Credit,
        band: str,
        statistic: Callable[[Sequence[Draw], Reference], float],
    ) -> Estimate:
        mine, flat = draws(self.rounds[arm.name], credit, band), draws(self.rounds[BASELINE], RLOO, band)
        known = self.references[band]

        def ratio(seeds: Sequence[int]) -> float:
            baseline = statistic([flat[seed] for seed in seeds], known)
            return efficiency(baseline, statistic([mine[seed] for seed in seeds], known))

        return jackknife(min(len(mine), len(flat)), ratio)

    def as_json(self) -> dict[str, Any]:
        """Every round, the reference's products, and what follows."""
        found = {
            f"{arm.name}: {credit.name}": {
                "scale": _plain(self.estimate(arm, credit, scale)),
                "nu": _plain(self.estimate(arm, credit, noise_tokens)),
                "efficiency": _plain(self.efficiency(arm, credit)),
                "efficiency_at_scale_1": _plain(self.efficiency_unbiased(arm, credit)) if credit.unbiased else None,
                "efficiency_by_task": {
                    band: _plain(self.efficiency_by_task(arm, credit, band)) for band in self.references
                },
            }
            for arm in self.arms
            for credit in arm.credits
            if self.rounds[arm.name]
        }
        known = {band: {"squared": known.squared, "by_task": known.by_task} for band, known in self.references.items()}
        return {**Result.as_json(self), "reference": known, "found": found}


async def measure(family: Family, arms: Sequence[Arm], tasks: int, seeds: int, samples: int, note: Note) -> NoiseResult:
    """A reference of `samples` samples a half, then every arm once per seed, taking turns."""
    network = Network.load(family.model)
    train, _ = family.split()
    async with Grower(family, network) as grower:
        known = await know(grower, family.some(train, tasks), samples, note)
        rounds = await run_rounds({arm.name: variant(grower, arm, known) for arm in arms}, seeds, note, warm_ups=0)
    parameters = {
        "family": family.name, "tasks": [task.id for task in known.tasks], "leaves": LEAVES, "seeds": seeds,
        "reference_samples": known.samples, "max_tokens": family.max_tokens, "success": dict(known.success),
    }  # fmt: skip
    result = NoiseResult(f"noise, {family.name}", parameters, rounds, (), arms=arms, references=known.references)
    told = ", ".join(f"{band}: {rate:.2f}" for band, rate in known.success.items())
    result.remarks += [
        f"success rates by difficulty: {told}; |g|^2 {known.references[ALL].squared:.4g} from {known.samples} samples "
        "of each task in either half",
        "efficiency: noise tokens of flat samples with rloo over the arm's; every task weighs the same, and so do its "
        "samples unless path weights are said; all arms have the same max_tokens; allocators know one epoch before, "
        "which is not counted",
    ]
    return result


def _plain(estimate: Estimate) -> dict[str, float | None]:
    """As JSON has numbers: nothing for what is not finite."""
    return {name: value if math.isfinite(value) else None for name, value in estimate._asdict().items()}


def _told(estimate: Estimate) -> str:
    if math.isnan(estimate.value):
        return "-"
    return f"{estimate.value:.2f}" + ("" if math.isnan(estimate.error) else f" ({estimate.error:.2f})")
