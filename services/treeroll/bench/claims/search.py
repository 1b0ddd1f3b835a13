"""DORA, ETS and BAVT: search over a frontier, with written arithmetic as the score of a step."""

from collections.abc import Sequence
from typing import Any

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
from treeroll.bench.claims.statistics import kept_tokens, paired, voted_right
from treeroll.bench.result import Column
from treeroll.bench.rounds import Figures

SMALL, LARGE = 8, 32
STEPS = "Step scores are the share of right steps among the arithmetic that a path has written"
# A quarter of what 16 independent samples of the demo model take, about 130 tokens each, less half of the round in
# which a tree notices that it has so many.
QUARTER = 520 - 64
ERROR = Column("gap_error", "its error", 1)


def _arm(recipe: str, leaves: int) -> Arm:
    settings: dict[str, Any] = {"segment": {"hold": True, "aligned": False}, "branch": {"value": "steps"}}
    return Arm(f"{recipe}, {leaves} leaves", recipe, leaves, tasks=TASKS, settings=settings)


def _right(grown: Grown) -> float:
    return percent(sum(map(voted_right, grown.trees)), len(grown.trees))


def _per_task(grown: Grown) -> float:
    return grown.tokens / len(grown.trees)


async def _measure_dora(arena: Arena, seed: int) -> Figures:
    small, large = await arena.grow(_arm("dora", SMALL), seed), await arena.grow(_arm("rebase", LARGE), seed)
    return {
        "right_dora": _right(small),
        "right_rebase": _right(large),
        "tokens_dora": _per_task(small),
        "tokens_rebase": _per_task(large),
        "fewer": _per_task(large) / _per_task(small),
        "faster": large.seconds / small.seconds,
        **gap_figures("gap", paired(small.trees, large.trees)),
    }


def _judge_dora(rounds: Sequence[Figures]) -> tuple[Verdict, str]:
    gap, fewer = pooled(rounds, "gap"), middle(rounds, "fewer")
    return no_less_right(
        fewer >= 3.5, gap, f"a vote {told(gap)} that of four times the width, at 1/{fewer:.1f} of its tokens"
    )


async def _measure_ets(arena: Arena, seed: int) -> Figures:
    ets, rebase = await arena.grow(_arm("ets", LEAVES), seed), await arena.grow(_arm("rebase", LEAVES), seed)
    kept = {name: sum(map(kept_tokens, grown.trees)) for name, grown in (("ets", ets), ("rebase", rebase))}
    return {
        "smaller": kept["rebase"] / kept["ets"] if kept["ets"] else 0.0,
        "kept_ets": kept["ets"] / len(ets.trees),
        "kept_rebase": kept["rebase"] / len(rebase.trees),
        "faster": rebase.seconds / ets.seconds,
        "right_ets": _right(ets),
        "right_rebase": _right(rebase),
        **gap_figures("gap", paired(ets.trees, rebase.trees)),
    }


def _judge_ets(rounds: Sequence[Figures]) -> tuple[Verdict, str]:
    smaller, faster = middle(rounds, "smaller"), middle(rounds, "faster")
    gap = pooled(rounds, "gap")
    return no_less_right(
        smaller >= 1.8 and faster >= 1.4,
        gap,
        f"{smaller:.2f} x fewer tokens kept, {faster:.2f} x the speed, a vote {told(gap)} rebase's; a CPU step costs "
        "by its batch, not by its cache",
    )


async def _measure_bavt(arena: Arena, seed: int) -> Figures:
    settings = {"branch": {"value": "steps", "tokens": QUARTER}}
    quarter = Arm("bavt, a quarter", "bavt", LEAVES, tasks=TASKS, settings=settings)
    tree, flat = await arena.grow(quarter, seed), await arena.grow(FLAT, seed)
    return {
        "right_bavt": _right(tree),
        "right_flat": _right(flat),
        "tokens_bavt": _per_task(tree),
        "tokens_flat": _per_task(flat),
        "share": percent(tree.tokens, flat.tokens),
        **gap_figures("gap", paired(tree.trees, flat.trees)),
    }


def _judge_bavt(rounds: Sequence[Figures]) -> tuple[Verdict, str]:
    gap, share = pooled(rounds, "gap"), middle(rounds, "share")
    return no_less_right(share <= 26, gap, f"a vote {told(gap)} that of flat sampling, at {share:.0f} % of its tokens")


DORA = Claim(
    name="dora",
    paper="DORA, Every Rollout Counts",
    says="64 rollouts are as often right as 256 of REBASE (68.7 against 67.4 %), with 3.5 x fewer FLOPs, 4 x faster",
    conditions="MATH500, Llama-3.2-1B-Instruct, a trained step scorer and a model of meaning, weighted votes. Here: "
    f"{SMALL} against {LARGE} leaves, plain votes, tokens instead of FLOPs. {STEPS}; meaning is wording",
    columns=(
        Column("right_dora", f"majority right, dora {SMALL}, %", 0),
        Column("right_rebase", f"rebase {LARGE}, %", 0),
        Column("gap", "dora against rebase, points", 1),
        ERROR,
        Column("fewer", "x fewer tokens", 1),
        Column("faster", "x faster", 1),
    ),
    measure=_measure_dora,
    judge=_judge_dora,
    plot=Plot(
        "tokens per task", "majority right, %",
        {f"dora {SMALL}": [("tokens_dora", "right_dora")], f"rebase {LARGE}": [("tokens_rebase", "right_rebase")]},
    ),
    needs=(("recipe", "dora"), ("recipe", "rebase")),
)  # fmt: skip

ETS = Claim(
    name="ets",
    paper="ETS, arXiv 2502.13575",
    says="1.8 x smaller KV cache during search and 1.4 x the throughput of REBASE, with minimal loss of accuracy",
    conditions=f"a GPU, a trained step scorer. Here: a CPU, {LEAVES} leaves, cache as tokens kept per level. {STEPS}",
    columns=(
        Column("smaller", "x fewer tokens kept", 2),
        Column("faster", "x the speed", 2),
        Column("right_ets", "majority right, ets, %", 0),
        Column("right_rebase", "rebase, %", 0),
        Column("gap", "ets against rebase, points", 1),
        ERROR,
    ),
    measure=_measure_ets,
    judge=_judge_ets,
    plot=Plot(
        "tokens kept per level", "", {"ets": [(None, "kept_ets")], "rebase": [(None, "kept_rebase")]},
    ),
    needs=(("recipe", "ets"), ("recipe", "rebase")),
)  # fmt: skip

BAVT = Claim(
    name="bavt",
    paper="BAVT, arXiv 2603.12634",
    says="as often right as parallel sampling at four times the budget",
    conditions="multi-hop questions, tool calls as budget, the model as its own critic. Here: tokens of a tree, which "
    f"ends with the round and the leaf by which it has {QUARTER}. {STEPS}",
    columns=(
        Column("right_bavt", "majority right, bavt, %", 0),
        Column("right_flat", "flat, %", 0),
        Column("gap", "bavt against flat, points", 1),
        ERROR,
        Column("share", "tokens, % of flat", 0),
    ),
    measure=_measure_bavt,
    judge=_judge_bavt,
    plot=Plot(
        "tokens per task", "majority right, %",
        {"bavt": [("tokens_bavt", "right_bavt")], "flat": [("tokens_flat", "right_flat")]},
    ),
    needs=(("recipe", "bavt"),),
)  # fmt: skip
