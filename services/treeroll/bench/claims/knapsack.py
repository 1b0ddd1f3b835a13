"""Knapsack RL: more samples that teach, for the same number of them."""

from collections.abc import Sequence

from treeroll.bench.claims.arena import Arena, Arm, Grown
from treeroll.bench.claims.arms import FLAT, LEAVES, TASKS
from treeroll.bench.claims.claim import Claim, Plot, Verdict, holds, middle, percent
from treeroll.bench.claims.statistics import effective
from treeroll.bench.result import Column
from treeroll.bench.rounds import Figures

FIRST = Arm("flat, first epoch", "flat", LEAVES, tasks=TASKS, settings={"allocate": {"name": "knapsack"}})
SECOND = Arm("flat, knapsack", "flat", LEAVES, tasks=TASKS, settings={"allocate": {"name": "knapsack"}}, after=FIRST)


async def _measure(arena: Arena, seed: int) -> Figures:
    uniform, shared = await arena.grow(FLAT, seed), await arena.grow(SECOND, seed)
    before, after = _effective(uniform), _effective(shared)
    return {
        "uniform": before,
        "knapsack": after,
        "more": 100 * (after / before - 1) if before else 0.0,
        "most": max(len(tree.samples) for tree in shared.trees),
    }


def _effective(grown: Grown) -> float:
    return percent(sum(len(effective(tree)) for tree in grown.trees), grown.samples)


def _judge(rounds: Sequence[Figures]) -> tuple[Verdict, str]:
    more = middle(rounds, "more")
    return holds(
        more >= 20,
        f"{more:+.0f} % samples with an advantage at the same number of samples, every sample weighing the same",
    )


CLAIM = Claim(
    name="knapsack",
    paper="Knapsack RL, arXiv 2509.25849",
    says="20 to 40 % more samples whose gradient is not zero; up to 93 samples of one prompt",
    conditions="math training runs. Here: the second epoch, success rates from the first, no training between; a "
    "count, every sample weighing the same, that says nothing of the noise of a gradient",
    columns=(
        Column("uniform", "samples with an advantage, uniform, %", 0),
        Column("knapsack", "knapsack, %", 0),
        Column("more", "more, %", 0),
        Column("most", "most samples of one task", 0),
    ),
    measure=_measure,
    judge=_judge,
    plot=Plot(
        "samples with an advantage, %", "", {"uniform": [(None, "uniform")], "knapsack": [(None, "knapsack")]},
    ),
)  # fmt: skip
