"""Ours: samples with an advantage per 1,000 engine tokens, of trees, flat GRPO sampling, and both with allocators."""

from collections.abc import Sequence

from treeroll.bench.claims.arena import Arena, Arm, Grown
from treeroll.bench.claims.arms import LEAVES, TASKS
from treeroll.bench.claims.claim import Claim, Plot, Verdict, holds, middle
from treeroll.bench.claims.statistics import distinct, effective, effective_size, mixed
from treeroll.bench.result import Column
from treeroll.bench.rounds import Figures

BUDGET = 60_000
# More than the budget lasts for, so that all arms spend it.
EPOCHS = 4
FLAT = "flat"
TREEPO = "treepo"
FAIR = "flat + mixed"  # no two samples share a token
NEYMAN = "flat + neyman"
COMBINED = "treepo + mixed"
# What is counted, as titles have it. An allocator's figure means nothing without the weighting of the loss.
COUNTS = {
    "plain": "samples with an advantage, each weighing the same",
    "corrected": "the same, as independent ones for the mean reward",
    "groups": "tasks with an advantage, each weighing the same",
}


def _arm(name: str, recipe: str, allocator: str | None = None) -> Arm:
    """An arm that spends the budget; shared out, after an epoch that everybody would have had before."""
    # Without a history all allocators give the same, so one such epoch does for all of a recipe.
    before = Arm(f"{recipe}, before", recipe, LEAVES, tasks=TASKS, settings={"allocate": {"name": "mixed"}})
    return Arm(
        f"{name}, {BUDGET:,} tokens", recipe, LEAVES, tasks=TASKS, epochs=EPOCHS, tokens=BUDGET,
        settings={"allocate": {"name": allocator}} if allocator else {}, after=before if allocator else None,
    )  # fmt: skip


ARMS = {
    FLAT: _arm(FLAT, "flat"),
    TREEPO: _arm(TREEPO, "treepo"),
    FAIR: _arm(FAIR, "flat", "mixed"),
    NEYMAN: _arm(NEYMAN, "flat", "neyman"),
    COMBINED: _arm(COMBINED, "treepo", "mixed"),
}


async def _measure(arena: Arena, seed: int) -> Figures:
    figures: dict[str, float] = {}
    for name, arm in ARMS.items():
        grown = await arena.grow(arm, seed)
        for count, value in per_1000(grown).items():
            figures[f"{name}: {count}"] = value
        if name in (FLAT, TREEPO):
            figures[f"{name}: distinct"] = sum(map(distinct, grown.trees)) / len(grown.trees)
    for name, base in ((COMBINED, FLAT), (COMBINED, TREEPO), (FAIR, FLAT), (NEYMAN, FLAT)):
        for count in COUNTS:
            figures[f"{name} / {base}: {count}"] = figures[f"{name}: {count}"] / figures[f"{base}: {count}"]
    return figures


def per_1000(grown: Grown) -> dict[str, float]:
    """Each count per 1,000 tokens. The epoch before, of which allocators know, is in none of them."""
    found = [effective(tree) for tree in grown.trees]
    thousands = grown.tokens / 1000
    return {
        "plain": sum(map(len, found)) / thousands,
        "corrected": sum(map(effective_size, found)) / thousands,
        "groups": sum(map(mixed, grown.trees)) / thousands,
    }


def _judge(rounds: Sequence[Figures]) -> tuple[Verdict, str]:
    def ratio(name: str, base: str, count: str = "plain") -> float:
        return middle(rounds, f"{name} / {base}: {count}")

    flat, treepo = ratio(COMBINED, FLAT), ratio(COMBINED, TREEPO)
    return holds(
        flat >= 2 and treepo >= 1.3,
        f"{COMBINED}: {flat:.2f} x flat and {treepo:.2f} x treepo by count, where every sample weighs the same, but "
        f"{ratio(COMBINED, FLAT, 'corrected'):.2f} x flat as samples for the mean reward, and "
        f"{ratio(COMBINED, FLAT, 'groups'):.2f} x flat where every task does; {FAIR}: {ratio(FAIR, FLAT):.2f} and "
        f"{ratio(FAIR, FLAT, 'groups'):.2f} x, {NEYMAN}: {ratio(NEYMAN, FLAT):.2f} and "
        f"{ratio(NEYMAN, FLAT, 'groups'):.2f} x flat where every sample, every task weighs the same. None of these "
        "says what a token is worth to a gradient",
    )


CLAIM = Claim(
    name="headline",
    paper="ours",
    says="twice the samples with an advantage per token of flat GRPO sampling, 1.3 times those of plain TreePO: "
    "counts, copies and small advantages included, and no measure of training",
    conditions=f"{BUDGET:,} tokens each, {LEAVES} leaves on average; allocators know one epoch before, whose tokens "
    "and samples are not counted",
    columns=(
        *(Column(f"{name}: {count}", f"{name}, {title}", 1) for count, title in COUNTS.items() for name in ARMS),
        *(Column(f"{name}: distinct", f"{name}, different texts of {LEAVES} samples", 1) for name in (FLAT, TREEPO)),
        *(
            Column(f"{name} / {base}: {count}", f"{name} / {base}, {count}", 2)
            for name, base in ((COMBINED, FLAT), (COMBINED, TREEPO), (FAIR, FLAT), (NEYMAN, FLAT))
            for count in COUNTS
        ),
    ),
    measure=_measure,
    judge=_judge,
    plot=Plot(
        "samples with an advantage per 1,000 engine tokens", "",
        {f"{name}, {count}": [(None, f"{name}: {count}")] for count in ("plain", "corrected") for name in ARMS},
    ),
)  # fmt: skip
