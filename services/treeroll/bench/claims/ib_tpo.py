"""IB-TPO: more trajectories for the same tokens, without fewer groups that teach."""

from collections.abc import Sequence

from treeroll.bench.claims.arena import Arena, Arm, Grown
from treeroll.bench.claims.arms import TASKS
from treeroll.bench.claims.claim import Claim, Plot, Verdict, holds, lowest, middle, percent
from treeroll.bench.claims.statistics import mixed
from treeroll.bench.result import Column
from treeroll.bench.rounds import Figures

TREE = Arm("ib_tpo, 12 leaves", "ib_tpo", 12, tasks=TASKS)
FEW = Arm("flat, 8 leaves", "flat", 8, tasks=TASKS)
MANY = Arm("flat, 12 leaves", "flat", 12, tasks=TASKS)


async def _measure(arena: Arena, seed: int) -> Figures:
    tree, few, many = [await arena.grow(arm, seed) for arm in (TREE, FEW, MANY)]
    rate = _per_1000(tree)
    return {
        "more": 100 * (rate / _per_1000(few) - 1),
        "groups_tree": _groups(tree),
        "groups_8": _groups(few),
        "groups_12": _groups(many),
    }


def _per_1000(grown: Grown) -> float:
    return 1000 * grown.samples / grown.tokens


def _groups(grown: Grown) -> float:
    return percent(sum(map(mixed, grown.trees)), len(grown.trees))


def _judge(rounds: Sequence[Figures]) -> tuple[Verdict, str]:
    more, groups = middle(rounds, "more"), middle(rounds, "groups_tree")
    enough = groups >= middle(rounds, "groups_12")
    return holds(
        lowest(rounds, "more") > 0 and enough,
        f"{more:+.0f} % leaves per token; {'no fewer' if enough else 'fewer'} mixed groups than 12 independent samples",
    )


CLAIM = Claim(
    name="ib_tpo",
    paper="IB-TPO, arXiv 2605.28109",
    says="more trajectories for the same tokens than independent sampling, without fewer mixed groups",
    conditions="8B model, steps at blank lines; its figures were read second-hand, none is printed. Here: 12 leaves, "
    "segments of fixed length",
    columns=(
        Column("more", "leaves per token more than flat, %", 0),
        Column("groups_tree", "mixed groups, ib_tpo, %", 0),
        Column("groups_8", "8 independent, %", 0),
        Column("groups_12", "12 independent, %", 0),
    ),
    measure=_measure,
    judge=_judge,
    plot=Plot(
        "mixed groups, %", "",
        {
            "ib_tpo, 12": [(None, "groups_tree")],
            "8 independent": [(None, "groups_8")],
            "12 independent": [(None, "groups_12")],
        },
    ),
)  # fmt: skip
