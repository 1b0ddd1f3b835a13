"""Learning curves: held-out reward of a model that is trained on what an arm grows, per engine token and second."""

import math
from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import Final

import numpy as np

from treeroll.bench.learning.families import BASELINE, Arm, Credit, Family
from treeroll.bench.learning.gradients import gradient, move
from treeroll.bench.learning.growing import Grower, Note
from treeroll.bench.learning.network import Network
from treeroll.bench.learning.noise import Estimate
from treeroll.bench.learning.noise_bench import seed_of
from treeroll.bench.result import Result, Table
from treeroll.bench.rounds import Figures, Variant, run_rounds
from treeroll.clock import monotonic
from treeroll.tasks import Task
from treeroll.tree.rng import shuffled

# Trees, of all difficulties alike, that tell what a tree of an arm costs before the first step.
PILOT: Final = 10


@dataclass(frozen=True)
class Plan:
    """How long a model is trained, and how it is looked at."""

    steps: int
    tokens_per_step: int
    """Engine tokens of a step: an arm with cheap trees has more tasks in it."""
    step_length: float
    """In weight space, the same for every arm and step: how good a direction is decides alone."""
    look_every: int
    """Steps between two evaluations."""
    held_out: int
    """Tasks of an evaluation."""
    samples: int
    """Of each of them."""


@dataclass
class Learner:
    """One arm and credit from the shipped model on, on a service of its own network."""

    grower: Grower
    arm: Arm
    credit: Credit
    plan: Plan
    train: Sequence[Task]
    held_out: Sequence[Task]
    known: dict[int, float]
    """Reward of the shipped model by seed: the same for all learners, so whoever comes first finds it out."""

    @property
    def name(self) -> str:
        """What tables call it."""
        return f"{self.arm.name}, {self.credit.name}"

    async def run(self, number: int) -> Figures:
        """One seed: figures "tokens@k", "seconds@k" and "reward@k" at every look, "tasks" and "leaves" of a step."""
        network = self.grower.network
        start = deepcopy(network.weights)
        try:
            return await self._train(number)
        finally:
            for name, weight in start.items():
                network.weights[name].copy_(weight)

    async def _train(self, number: int) -> Figures:
        plan, tokens, seconds = self.plan, 0.0, 0.0
        per_tree = await self._price(number)
        figures: dict[str, float] = {"tasks": 0.0, "leaves": 0.0}
        queue: list[Task] = []
        passes = 0  # over the training tasks
        for step in range(plan.steps + 1):
            if step % plan.look_every == 0 or step == plan.steps:
                figures |= {
                    f"tokens@{step}": tokens,
                    f"seconds@{step}": seconds,
                    f"reward@{step}": await (self._look(number) if step else self._before(number)),
                }
            if step == plan.steps:
                break
            count = max(2, round(plan.tokens_per_step / per_tree))
            while len(queue) < count:
                passes += 1
                queue += shuffled(list(self.train), seed_of("order", number, passes))
            tasks, queue = _distinct(queue, count)
            began = monotonic()
            grown = await self.grower.grow(self.arm, tasks, seed_of("train", self.name, number, step))
            found = [gradient(self.grower.network, tree, self.credit) for tree in grown.trees]
            move(self.grower.network, np.sum(found, 0), plan.step_length)
            seconds += monotonic() - began
            tokens += grown.tokens
            per_tree = 0.8 * per_tree + 0.2 * grown.tokens / len(grown.trees)
            figures["tasks"] += len(grown.trees) / plan.steps
            figures["leaves"] += sum(len(tree.samples) for tree in grown.trees) / plan.steps
        return figures

    async def _price(self, number: int) -> float:
        tasks = self.grower.family.some(self.train, PILOT)
        grown = await self.grower.grow(self.arm, tasks, seed_of("price", self.name, number))
        return grown.tokens / len(tasks)

    async def _before(self, number: int) -> float:
        if number not in self.known:
            self.known[number] = await self._look(number)
        return self.known[number]

    async def _look(self, number: int) -> float:
        """Mean reward of the held-out tasks, by samples of the same seeds for every arm."""
        flat = self.grower.family.arms()[BASELINE]
        grown = await self.grower.grow(flat, self.held_out, seed_of("look", number), leaves=self.plan.samples)
        return float(np.mean([[sample.reward or 0.0 for sample in tree.samples] for tree in grown.trees]))


def learned_with(arm: Arm) -> Credit:
    """GRPO's for flat samples, the first one for all else."""
    return next((credit for credit in arm.credits if credit.estimator == "grpo"), arm.credits[0])


def _distinct(queue: list[Task], count: int) -> tuple[list[Task], list[Task]]:
    """The first `count` different tasks, and what is left in order."""
    taken: dict[str, Task] = {}
    left = []
    for task in queue:
        if len(taken) < count and task.id not in taken:
            taken[task.id] = task
        else:
            left.append(task)
    return list(taken.values()), left


@dataclass(slots=True)
class CurvesResult(Result):
    """Rewards before and after, gains, and differences to the baseline, seed by seed."""

    looks: Sequence[int] = ()

    def table(self) -> Table:
        """Learners down."""
        last = self.looks[-1]
        titles = [
            "arm, credit", ">tasks a step", ">leaves a step", ">engine tokens", ">seconds", ">reward before",
            ">after", ">gain", ">per 100k tokens", ">per minute", ">gain less the baseline's",
        ]  # fmt: skip
        cells = []
        for name, found in self.rounds.items():
            if not found:
                continue
            tokens, seconds, tasks, leaves, before, after = (
                _mean(found, figure).value
                for figure in (f"tokens@{last}", f"seconds@{last}", "tasks", "leaves", "reward@0", f"reward@{last}")
            )
            gain = self.gain(name)
            cells.append([
                name, f"{tasks:.1f}", f"{leaves:.0f}", f"{tokens:,.0f}", f"{seconds:,.0f}", f"{before:.3f}",
                f"{after:.3f}", _told(gain), f"{gain.value / tokens * 1e5:.4f}", f"{gain.value / seconds * 60:.4f}",
                "-" if name == next(iter(self.rounds)) else _told(self.advantage(name)),
            ])  # fmt: skip
        count = max((len(found) for found in self.rounds.values()), default=0)
        return Table(f"{self.bench}: means of {count} seeds, standard error in brackets", titles, cells)

    def gain(self, name: str) -> Estimate:
        """Held-out reward at the end less that at the start."""
        return _estimate([found[f"reward@{self.looks[-1]}"] - found["reward@0"] for found in self.rounds[name]])

    def advantage(self, name: str) -> Estimate:
        """How much more it gained than the first learner, seed by seed."""
        last = f"reward@{self.looks[-1]}"
        pairs = zip(self.rounds[name], self.rounds[next(iter(self.rounds))], strict=True)
        return _estimate([(mine[last] - mine["reward@0"]) - (flat[last] - flat["reward@0"]) for mine, flat in pairs])


async def measure(family: Family, arms: Sequence[Arm], plan: Plan, seeds: int, note: Note) -> CurvesResult:
    """Every arm, with the credit it is learned with, trained once per seed, taking turns; none with an allocator.

    Allocators know what tasks did in earlier epochs, and a training of so few steps hardly has a second one.
    """
    train, held_out = family.split()
    known: dict[int, float] = {}
    async with Grower(family, Network.load(family.model)) as grower:
        learners = [
            Learner(grower, arm, learned_with(arm), plan, train, family.some(held_out, plan.held_out), known)
            for arm in arms
            if arm.allocator is None
        ]
        variants: dict[str, Variant] = {learner.name: learner.run for learner in learners}
        rounds = await run_rounds(variants, seeds, note, warm_ups=0)
    parameters = {"family": family.name, "seeds": seeds, "max_tokens": family.max_tokens, **plan.__dict__}
    looks = [step for step in range(plan.steps + 1) if step % plan.look_every == 0 or step == plan.steps]
    return CurvesResult(
        f"curves, {family.name}", parameters, rounds, (),
        [
            "every step of every arm has the same length in weight space and about the same engine tokens, as far as "
            "what trees cost was foreseen, so arms with cheaper trees have more tasks in a step; seconds are of "
            "growth, gradients and steps on this machine, with shared tokens forwarded once; every task weighs the "
            "same; arms with allocators are not trained",
        ],
        looks=looks,
    )  # fmt: skip


def _estimate(values: Sequence[float]) -> Estimate:
    mean = math.fsum(values) / len(values)
    if len(values) < 2:
        return Estimate(mean, math.nan)
    variance = math.fsum((value - mean) ** 2 for value in values) / (len(values) - 1)
    return Estimate(mean, math.sqrt(variance / len(values)))


def _mean(found: Sequence[Figures], figure: str) -> Estimate:
    return _estimate([figures[figure] for figures in found])


def _told(estimate: Estimate) -> str:
    return f"{estimate.value:+.3f}" + ("" if math.isnan(estimate.error) else f" ({estimate.error:.3f})")
