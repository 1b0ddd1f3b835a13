"""MCPP: tasks completed within a budget and a deadline. In virtual time, on samples of the real engine."""

import heapq
import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from treeroll.bench.claims.arena import Arena
from treeroll.bench.claims.arms import LEAVES, POOL
from treeroll.bench.claims.claim import Claim, Plot, Verdict, holds, lowest, middle
from treeroll.bench.result import Column
from treeroll.bench.rounds import Figures
from treeroll.client import TreeRecord
from treeroll.policies import registry
from treeroll.policy.allocate import Allocation, BudgetView, Outcome, TaskView
from treeroll.policy.base import Limits

SLOTS: Final = 16
SECONDS_PER_TOKEN: Final = 0.01
# Shares of what LEAVES samples of every task would take, of tokens and of seconds.
GRID: Final = tuple((tokens, seconds) for tokens in (0.2, 0.4, 0.7) for seconds in (0.2, 0.4, 0.7))
STATIC: Final = (1, 4, LEAVES)
REPEATS: Final = 4


@dataclass(frozen=True, slots=True)
class Task:
    """A task's pool: (tokens, right) of independent samples."""

    view: TaskView
    pool: Sequence[tuple[int, bool]]


class Static:
    """Always the same."""

    def __init__(self, leaves: int) -> None:
        self._leaves = leaves

    def allocate(self, tasks: Sequence[TaskView], budget: BudgetView) -> list[int]:
        """The same for each."""
        return [self._leaves] * len(tasks)

    def learn(self, task: TaskView, outcome: Outcome) -> None:
        """Nothing."""


def completed(tasks: Sequence[Task], allocation: Allocation, tokens: int, seconds: float, seed: int) -> float:
    """Share of tasks with a right sample, when all start in this order on SLOTS slots, within tokens and seconds.

    A task starts when its first sample finds a slot, is paid for then, and is done when its last sample is. One that
    cannot be paid any more is not started; what ends after the deadline counts for nothing.
    """
    rng = random.Random(seed)  # noqa: S311 - a statistic, not a secret
    slots = [0.0] * SLOTS
    done, given, used = 0, 0, 0
    ended: list[tuple[float, int, TaskView, Outcome]] = []
    for number, task in enumerate(tasks):
        now = slots[0]
        while ended and ended[0][0] <= now:
            _, _, view, outcome = heapq.heappop(ended)
            allocation.learn(view, outcome)
        mean = used / given if given else max(length for length, _ in task.pool)
        left = BudgetView(tokens - used, seconds - now, mean, len(tasks) - number, SLOTS)
        drawn = rng.sample(task.pool, allocation.allocate([task.view], left)[0])
        cost = sum(length for length, _ in drawn)
        if now >= seconds or used + cost > tokens:
            continue
        used, given = used + cost, given + len(drawn)
        ends = [heapq.heapreplace(slots, slots[0] + length * SECONDS_PER_TOKEN) + length * SECONDS_PER_TOKEN
                for length, _ in drawn]  # fmt: skip
        right = sum(good for _, good in drawn)
        heapq.heappush(ended, (max(ends), number, task.view, Outcome(right, len(drawn), cost, max(ends) - now)))
        done += right > 0 and max(ends) <= seconds
    return done / len(tasks)


def _task(tree: TreeRecord) -> Task:
    pool = [(len(sample.completion_ids), (sample.reward or 0) >= 1) for sample in tree.samples]
    return Task(TaskView(tree.task_id, tree.prompt_text, len(tree.nodes[0].token_ids)), pool)


async def _measure(arena: Arena, seed: int) -> Figures:
    tasks = [_task(tree) for tree in (await arena.grow(POOL, seed)).trees]
    whole = LEAVES * sum(sum(length for length, _ in task.pool) / len(task.pool) for task in tasks)
    limits = Limits(LEAVES, 16, 12, 192)
    sums: dict[str, float] = {}
    for share, part in GRID:
        budget, deadline = int(share * whole), part * whole * SECONDS_PER_TOKEN / SLOTS
        for repeat in range(REPEATS):
            arms: dict[str, Allocation] = {f"static_{leaves}": Static(leaves) for leaves in STATIC}
            arms["mcpp"] = registry.build("allocate", "mcpp", {"simulations": 32}, limits).open(seed)
            for name, allocation in arms.items():
                found = completed(tasks, allocation, budget, deadline, 1000 * seed + repeat)
                sums[name] = sums.get(name, 0.0) + found
                sums[f"{name}, {share:g} x {part:g}"] = sums.get(f"{name}, {share:g} x {part:g}", 0.0) + found
    figures = {name: 100 * total / REPEATS / (1 if " x " in name else len(GRID)) for name, total in sums.items()}
    best = max(figures[f"static_{leaves}"] for leaves in STATIC)
    return {**figures, "uniform": figures[f"static_{LEAVES}"], "best_static": best,
            "gain": figures["mcpp"] - figures[f"static_{LEAVES}"], "gain_best": figures["mcpp"] - best}  # fmt: skip


def _judge(rounds: Sequence[Figures]) -> tuple[Verdict, str]:
    gain, best, worst = middle(rounds, "gain"), middle(rounds, "gain_best"), lowest(rounds, "gain_best")
    return holds(
        lowest(rounds, "gain") > 0 and worst >= 0,
        f"{gain:+.1f} points against uniform, {best:+.1f} ({worst:+.1f} in the worst seed) against the best constant "
        "number of leaves, known afterwards",
    )


CLAIM = Claim(
    name="mcpp",
    paper="On Time, Within Budget (MCPP), arXiv 2605.06110",
    says="completes more within budget and deadline than uniform, sequential, random and static plans",
    conditions="graphs of sub-tasks (CodeFlow, ProofFlow), several models. Here: independent tasks and one model, in "
    f"virtual time on samples of the real engine; mean over {len(GRID)} pairs of budget and deadline",
    columns=(
        Column("mcpp", "completed, mcpp, %", 0),
        *(Column(f"static_{leaves}", f"always {leaves}, %", 0) for leaves in STATIC),
        Column("gain", "points against uniform", 1),
        Column("gain_best", "points against the best constant", 1),
    ),
    measure=_measure,
    judge=_judge,
    plot=Plot(
        "budget, as a share of 16 samples of each task; deadline 0.4", "completed, %",
        {name: [(share, f"{name}, {share:g} x 0.4") for share in (0.2, 0.4, 0.7)]
         for name in ("mcpp", *(f"static_{leaves}" for leaves in STATIC))},
    ),
    needs=(("allocate", "mcpp"),),
)  # fmt: skip
