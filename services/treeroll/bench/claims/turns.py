"""Turn caps: what a cap on the calls of an agent saves, and what it loses. Worked out on uncapped samples."""

from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np

from treeroll.bench.claims.arena import Arena, Arm
from treeroll.bench.claims.claim import Claim, Plot, Verdict, holds, lowest, middle, percent
from treeroll.bench.result import Column
from treeroll.bench.rounds import Figures
from treeroll.client import Sample

AGENT: Final = Arm(
    "agent, 8 samples",
    "flat",
    8,
    tasks=60,
    settings={"segment": {"name": "agent_step"}, "max_depth": 6, "max_tokens": 250},
)
CAPS: Final = (25, 50, 75)


class Walk(NamedTuple):
    """One uncapped sample: completion tokens up to the end of each turn, all of them, and whether it was right."""

    turns: Sequence[int]
    tokens: int
    right: bool


def walk(sample: Sample) -> Walk:
    """A turn ends with a tool's observation, whose tokens are not the model's and cost nothing here."""
    mask = np.asarray(sample.model_mask)
    ends = np.flatnonzero((mask == 0) & (np.append(mask[1:], 1) == 1))
    made = np.cumsum(mask)
    return Walk([int(made[end]) for end in ends], int(made[-1]), (sample.reward or 0) >= 1)


def capped(walks: Sequence[Walk], cap: int) -> tuple[float, float]:
    """Tokens and right samples if nobody may go on beyond so many turns: who would, stops there without an answer."""
    tokens = sum(found.tokens if len(found.turns) <= cap else found.turns[cap - 1] if cap else 0 for found in walks)
    right = sum(found.right and len(found.turns) <= cap for found in walks)
    return tokens, right


async def _measure(arena: Arena, seed: int) -> Figures:
    walks = [walk(sample) for tree in (await arena.grow(AGENT, seed)).trees for sample in tree.samples]
    turns = [len(found.turns) for found in walks]
    tokens, right = sum(found.tokens for found in walks), sum(found.right for found in walks)
    figures: dict[str, float] = {"most": max(turns), "right": percent(right, len(walks))}
    for percentile in CAPS:
        cap = int(np.percentile(turns, percentile, method="higher"))
        cost, kept = capped(walks, cap)
        figures[f"cap_{percentile}"] = cap
        figures[f"saved_{percentile}"] = 100 - percent(cost, tokens)
        figures[f"lost_{percentile}"] = 100 - percent(kept, right)
    return figures


def _judge(rounds: Sequence[Figures]) -> tuple[Verdict, str]:
    saved, lost = middle(rounds, "saved_75"), middle(rounds, "lost_75")
    worse = middle(rounds, "lost_25") > lost
    return holds(
        lowest(rounds, "saved_75") > 0 and saved > lost and worse,
        f"at the 75th percentile {saved:.0f} % fewer tokens, {lost:.0f} % of right answers lost; at the 25th "
        f"{middle(rounds, 'lost_25'):.0f} % lost",
    )


CLAIM = Claim(
    name="turns",
    paper="Turn control, arXiv 2510.16786",
    says="a cap at a high percentile of turns saves much and loses little; a low one loses much",
    conditions="SWE-bench agents that are reminded of turns left. Here: the demo model with a calculator, no reminder; "
    "caps applied to samples that had none",
    columns=(
        Column("most", "most calls", 0),
        *(
            Column(f"{what}_{percentile}", f"{title} at percentile {percentile}", 0)
            for percentile in CAPS
            for what, title in (("cap", "cap"), ("saved", "tokens saved, %,"), ("lost", "right answers lost, %,"))
        ),
    ),
    measure=_measure,
    judge=_judge,
    plot=Plot(
        "right answers lost, %", "tokens saved, %",
        {f"percentile {percentile}": [(f"lost_{percentile}", f"saved_{percentile}")] for percentile in CAPS},
    ),
    model="tools",
)  # fmt: skip
