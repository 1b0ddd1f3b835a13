"""TreePO: what sampling in trees saves, and what that costs in accuracy."""

from collections.abc import Sequence

from treeroll.bench.claims.arena import Arena, Arm, Grown
from treeroll.bench.claims.arms import FLAT, LEAVES, TASKS
from treeroll.bench.claims.claim import (
    Claim,
    Plot,
    Verdict,
    gap_figures,
    middle,
    no_less_right,
    percent,
    pooled,
    told,
)
from treeroll.bench.claims.statistics import paired, voted_right
from treeroll.bench.result import Column
from treeroll.bench.rounds import Figures

WIDTHS = (2, 4, 8)


def _arm(branching: int) -> Arm:
    return Arm(
        f"treepo, b = {branching}", "treepo", LEAVES, tasks=TASKS,
        settings={"branch": {"branching": branching, "fallback": "random"}},
    )  # fmt: skip


async def _measure(arena: Arena, seed: int) -> Figures:
    flat = await arena.grow(FLAT, seed)
    figures: dict[str, float] = {"right_flat": _right(flat), "tokens_flat": flat.tokens / flat.samples}
    for branching in WIDTHS:
        tree = await arena.grow(_arm(branching), seed)
        figures |= gap_figures(f"gap_{branching}", paired(tree.trees, flat.trees))
        figures[f"saved_{branching}"] = 100 - percent(tree.tokens / tree.samples, flat.tokens / flat.samples)
        figures[f"tokens_{branching}"] = tree.tokens / tree.samples
        figures[f"right_{branching}"] = _right(tree)
    return figures


def _right(grown: Grown) -> float:
    return percent(sum(map(voted_right, grown.trees)), len(grown.trees))


def _judge(rounds: Sequence[Figures]) -> tuple[Verdict, str]:
    saved = [middle(rounds, f"saved_{branching}") for branching in WIDTHS]
    cheaper = all(saving > 0 for saving in saved) and sorted(saved, reverse=True) == saved
    widest = pooled(rounds, f"gap_{WIDTHS[-1]}")  # the claim is about it; the best of three would be chosen by chance
    return no_less_right(
        cheaper,
        widest,
        f"{'each saves, more with smaller b' if cheaper else 'savings do not fall with b'}; the vote with b = "
        f"{WIDTHS[-1]} is {told(widest)} the flat one's",
    )


CLAIM = Claim(
    name="treepo",
    paper="TreePO, arXiv 2508.17445, table 2",
    says="16 samples take 22 % less GPU time with b = 8 at the same accuracy, 29 % with b = 4, 43 % with b = 2 at 3.5 "
    "points less",
    conditions="trained 7B checkpoint, maj@16, 8 x 2048 tokens. Here: tokens instead of GPU time",
    columns=(
        *(Column(f"saved_{branching}", f"tokens per sample saved, b = {branching}, %", 0) for branching in WIDTHS),
        Column("right_flat", "majority right, flat, %", 0),
        *(Column(f"right_{branching}", f"b = {branching}, %", 0) for branching in WIDTHS),
        *(Column(f"gap_{branching}", f"b = {branching} against flat, points", 1) for branching in WIDTHS),
        *(Column(f"gap_{branching}_error", f"its error, b = {branching}", 1) for branching in WIDTHS),
    ),
    measure=_measure,
    judge=_judge,
    plot=Plot(
        "tokens per sample", "majority right, %",
        {
            "flat": [("tokens_flat", "right_flat")],
            **{f"b = {branching}": [(f"tokens_{branching}", f"right_{branching}")] for branching in WIDTHS},
        },
    ),
)  # fmt: skip
