"""ECHO, HyPER and HBPO: the same accuracy for fewer tokens than a vote over independent samples."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import Any

from treeroll.bench.claims.arena import Arena, Arm
from treeroll.bench.claims.arms import POOL, TASKS
from treeroll.bench.claims.claim import Claim, Plot, Verdict, holds, lowest, middle, percent
from treeroll.bench.claims.statistics import tokens_for, vote_curve, voted_right
from treeroll.bench.result import Column
from treeroll.bench.rounds import Figures

SIZES = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48)
# Of characters, not of words: the model is surer of the next one, and its answers are short.
ECHO_BRANCH: Mapping[str, Any] = {
    "answers": 4, "min_depth": 4, "entropy": 0.6, "entropy_low": 0.2, "entropy_high": 1.2,
    "entropy_window": 4, "group_window": 4,
}  # fmt: skip
ECHO = Arm("echo, 16 leaves", "echo", 16, tasks=TASKS, settings={"branch": ECHO_BRANCH})
HYPER = Arm(
    "hyper, up to 32 leaves", "hyper", 32, tasks=TASKS,
    settings={"segment": {"hold": True, "aligned": False}, "branch": {"warm_up": 16, "keep": 10, "pool": 20}},
)  # fmt: skip
# Budgets are about the quartiles of the lengths of the demo model's answers, and the limit of all arms. It was never
# told a budget, and whatever stands between a task and its answer it takes for a part of the task: so it is told none.
HBPO = Arm(
    "hbpo, 16 leaves", "hbpo", 16, tasks=TASKS,
    settings={"segment": {}, "branch": {"budgets": [80, 120, 180, 256], "announcement": ""}},
)  # fmt: skip


async def _measure(arm: Arm, arena: Arena, seed: int) -> Figures:
    tree, pool = await arena.grow(arm, seed), await arena.grow(POOL, seed)
    curve = vote_curve(pool.trees, SIZES, seed)
    right, tokens = sum(map(voted_right, tree.trees)) / len(tree.trees), tree.tokens / len(tree.trees)
    # Where no number of samples is as right, the largest one is what it would take at least.
    flat = min(tokens_for(curve, right), curve[-1].tokens)
    curves = {f"flat_{size}_tokens": point.tokens for size, point in zip(SIZES, curve, strict=True)}
    rights = {f"flat_{size}_right": 100 * point.right for size, point in zip(SIZES, curve, strict=True)}
    return {
        "right": percent(right, 1), "tokens": tokens, "flat_tokens": flat,
        "fewer": 100 * (1 - tokens / flat), **curves, **rights,
    }  # fmt: skip


def _judge(bound: float, rounds: Sequence[Figures]) -> tuple[Verdict, str]:
    fewer, worst = middle(rounds, "fewer"), lowest(rounds, "fewer")
    than = f"{abs(fewer):.0f} % {'fewer' if fewer >= 0 else 'more'} tokens"
    but = f", but {abs(worst):.0f} % more in the worst seed" if fewer >= bound and worst <= 0 else ""
    return holds(
        fewer >= bound and worst > 0, f"{than} than a vote over independent samples takes to be as often right{but}"
    )


def _claim(name: str, paper: str, says: str, conditions: str, arm: Arm, bound: float) -> Claim:
    measure: Callable[[Arena, int], Awaitable[Figures]] = partial(_measure, arm)
    flat = [(f"flat_{size}_tokens", f"flat_{size}_right") for size in SIZES]
    return Claim(
        name=name,
        paper=paper,
        says=says,
        conditions=conditions,
        columns=(
            Column("right", f"majority right, {name}, %", 0),
            Column("tokens", "tokens per task", 0),
            Column("flat_tokens", "flat, as often right", 0),
            Column("fewer", "fewer, %", 0),
        ),
        measure=measure,
        judge=partial(_judge, bound),
        plot=Plot("tokens per task", "majority right, %", {"flat": flat, name: [("tokens", "right")]}),
        needs=(("recipe", name),),
    )


CLAIMS = (
    _claim(
        "echo", "ECHO, arXiv 2602.02150",
        "entropy and confidence say where to branch and what to prune; we ask for fewer tokens at equal accuracy",
        "test-time RL, Qwen2.5-7B and Qwen3-8B, 64 samples. Here: no training, thresholds lowered to a model of "
        "characters; the release's entropy threshold cannot be reached with its 10 candidates",
        ECHO, 0,
    ),
    _claim(
        "hyper", "HyPER, arXiv 2602.06527",
        "25 to 40 % fewer tokens, and more accurate by 8 to 10 %",
        "mixture-of-experts models, four actions, weighted votes. Here: one dense model, and of its actions branching "
        "and doing nothing; a plain vote",
        HYPER, 25,
    ),
    _claim(
        "hbpo", "HBPO, arXiv 2507.15844",
        "up to 60.6 % fewer tokens, and 3.14 % more accurate",
        "1.5B models, after training with rewards for short answers. Here: no training, and samples are kept to "
        "budgets that they are not told",
        HBPO, 0,
    ),
)  # fmt: skip
