"""V_0: success is predictable before any sample is drawn. Our predictor, and whether what it says comes true."""

from collections.abc import Sequence

from treeroll.bench.claims.arena import Arena, Arm
from treeroll.bench.claims.claim import Claim, Plot, Verdict, holds, lowest, middle
from treeroll.bench.result import Column
from treeroll.bench.rounds import Figures
from treeroll.policies.predict import registry
from treeroll.policies.predict.calibration import Prediction, calibration
from treeroll.policy.allocate import TaskView

ALL = Arm("flat, 4 leaves, all tasks", "flat", 4)
BINS = 5


async def _measure(arena: Arena, seed: int) -> Figures:
    predictor = registry.build("prompt", 1.0)
    said: list[Prediction] = []
    for tree in sorted((await arena.grow(ALL, seed)).trees, key=lambda tree: tree.tree_id):
        task = TaskView(tree.task_id, tree.prompt_text, len(tree.nodes[0].token_ids))
        right = sum((sample.reward or 0) >= 1 for sample in tree.samples)
        if (rate := predictor.of(task)) is not None:
            said.append(Prediction(rate, right, len(tree.samples)))
        predictor.learn(task, right, len(tree.samples))
    # Judged on the second half: the first is what it learned from.
    found = calibration(said[len(said) // 2 :], BINS)
    room = found.base - found.floor
    bins = {f"predicted_{place}": bin_.predicted for place, bin_ in enumerate(found.bins)}
    bins |= {f"observed_{place}": bin_.observed for place, bin_ in enumerate(found.bins)}
    return {
        "error": 100 * found.error, "brier": found.brier, "base": found.base, "floor": found.floor,
        "explained": 100 * (found.base - found.brier) / room if room > 0 else 0.0, **bins,
    }  # fmt: skip


def _judge(rounds: Sequence[Figures]) -> tuple[Verdict, str]:
    return holds(
        lowest(rounds, "explained") > 0,
        f"{middle(rounds, 'explained'):.0f} % of what differs between tasks is foreseen, off by "
        f"{middle(rounds, 'error'):.0f} points on average",
    )


CLAIM = Claim(
    name="v0",
    paper="V_0, arXiv 2602.03584",
    says="the success rate of a prompt can be predicted before any sample of it",
    conditions="Qwen3-Embedding and a tabular model on 256 past prompts. Here: ours, logistic regression on the "
    "prompt's words, learned online from 4 samples a task; judged on the second half of 200 tasks",
    columns=(
        Column("explained", "of the difference between tasks foreseen, %", 0),
        Column("error", "expected calibration error, points", 0),
        Column("brier", "Brier score", 3),
        Column("base", "always the mean", 3),
        Column("floor", "the truth", 3),
    ),
    measure=_measure,
    judge=_judge,
    plot=Plot(
        "predicted success rate", "observed",
        {"bins of predictions": [(f"predicted_{place}", f"observed_{place}") for place in range(BINS)]},
    ),
)  # fmt: skip
