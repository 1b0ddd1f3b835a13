"""Ours: effective samples per 1,000 engine tokens, of a combination, flat GRPO sampling and plain TreePO."""

from collections.abc import Sequence

from treeroll.bench.claims.arena import Arena, Arm, Grown
from treeroll.bench.claims.arms import LEAVES, TASKS
from treeroll.bench.claims.claim import Claim, Plot, Verdict, holds, middle
from treeroll.bench.claims.statistics import effective, effective_size
from treeroll.bench.result import Column
from treeroll.bench.rounds import Figures

BUDGET = 60_000
# More than the budget lasts for, so that all arms spend it.
EPOCHS = 4
SHARED_OUT = {"allocate": {"name": "mixed"}}
FLAT = "flat"
TREEPO = "treepo"
FAIR = "flat + mixed"  # no two samples share a token
COMBINED = "treepo + mixed"


def _arm(name: str, recipe: str, *, shared_out: bool = False) -> Arm:
    """An arm that spends the budget; shared out, after an epoch that everybody would have had before."""
    before = Arm(f"{recipe}, before", recipe, LEAVES, tasks=TASKS, settings=SHARED_OUT)
    return Arm(
        f"{name}, {BUDGET:,} tokens", recipe, LEAVES, tasks=TASKS, epochs=EPOCHS, tokens=BUDGET,
        settings=SHARED_OUT if shared_out else {}, after=before if shared_out else None,
    )  # fmt: skip


ARMS = {
    FLAT: _arm(FLAT, "flat"),
    TREEPO: _arm(TREEPO, "treepo"),
    FAIR: _arm(FAIR, "flat", shared_out=True),
    COMBINED: _arm(COMBINED, "treepo", shared_out=True),
}


async def _measure(arena: Arena, seed: int) -> Figures:
    figures: dict[str, float] = {}
    for name, arm in ARMS.items():
        grown = await arena.grow(arm, seed)
        figures[f"{name}: plain"], figures[f"{name}: corrected"] = per_1000(grown)
    for name in (FLAT, TREEPO):
        for kind in ("plain", "corrected"):
            figures[f"{kind} against {name}"] = figures[f"{COMBINED}: {kind}"] / figures[f"{name}: {kind}"]
    figures["fair"] = figures[f"{FAIR}: plain"] / figures[f"{FLAT}: plain"]
    return figures


def per_1000(grown: Grown) -> tuple[float, float]:
    """Effective samples per 1,000 tokens, as they are and as independent ones."""
    found = [effective(tree) for tree in grown.trees]
    thousands = grown.tokens / 1000
    return sum(map(len, found)) / thousands, sum(map(effective_size, found)) / thousands


def _judge(rounds: Sequence[Figures]) -> tuple[Verdict, str]:
    flat, treepo = middle(rounds, f"plain against {FLAT}"), middle(rounds, f"plain against {TREEPO}")
    corrected = middle(rounds, f"corrected against {FLAT}")
    return holds(
        flat >= 2 and treepo >= 1.3,
        f"{COMBINED}: {flat:.2f} x flat and {treepo:.2f} x treepo, but {corrected:.2f} x flat if samples that share "
        f"tokens count less; {FAIR}, where none do: {middle(rounds, 'fair'):.2f} x flat",
    )


CLAIM = Claim(
    name="headline",
    paper="ours",
    says="twice the effective samples per token of flat GRPO sampling, 1.3 times those of plain TreePO",
    conditions=f"{BUDGET:,} tokens each, {LEAVES} leaves on average; mixed knows one epoch before",
    columns=(
        *(Column(f"{name}: {kind}", f"{name}, {kind}", 1) for name in ARMS for kind in ("plain", "corrected")),
        *(
            Column(f"{kind} against {name}", f"{COMBINED} / {name}, {kind}", 2)
            for kind in ("plain", "corrected")
            for name in (FLAT, TREEPO)
        ),
        Column("fair", f"{FAIR} / {FLAT}", 2),
    ),
    measure=_measure,
    judge=_judge,
    plot=Plot(
        "effective samples per 1,000 engine tokens", "",
        {f"{name}, {kind}": [(None, f"{name}: {kind}")] for kind in ("plain", "corrected") for name in ARMS},
    ),
)  # fmt: skip
