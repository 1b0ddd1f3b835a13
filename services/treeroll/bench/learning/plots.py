"""Pictures of `treeroll bench learning`: efficiencies as bars, learning curves as lines."""

import importlib.util
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from treeroll.bench.claims.plots import DPI, MARKERS, SIZE
from treeroll.bench.learning.curves import CurvesResult
from treeroll.bench.learning.noise_bench import NoiseResult
from treeroll.bench.result import Result

BAR: Final = 0.27


def draw(result: Result, path: Path) -> bool:
    """The picture of a result, where there is one to draw, and matplotlib to draw it with. Whether it was written."""
    if not importlib.util.find_spec("matplotlib"):
        return False
    if isinstance(result, NoiseResult):
        draw_noise(result, path)
    elif isinstance(result, CurvesResult):
        draw_curves(result, path)
    else:
        return False
    return True


def draw_noise(result: NoiseResult, path: Path) -> None:
    """Efficiency of every arm and credit in all readings, with jackknife errors."""
    from matplotlib.figure import Figure

    pairs = [(arm, credit) for arm in result.arms for credit in arm.credits if result.rounds[arm.name]]
    figure = Figure(figsize=(SIZE[0] * 1.2, 0.9 + 0.42 * len(pairs)), dpi=DPI, layout="constrained")
    axes = figure.add_subplot()
    readings = (
        ("at scale 1, of what is unbiased", result.efficiency_unbiased, "#4c78a8"),
        ("all tasks together", result.efficiency, "#bab0ac"),
        ("by task", result.efficiency_by_task, "#e0d5c8"),
    )
    for place, (label, reading, color) in enumerate(readings):
        shown = [row for row, (_, credit) in enumerate(pairs) if place or credit.unbiased]
        found = [reading(*pairs[row]) for row in shown]
        axes.barh(
            [row + (place - 1) * BAR for row in shown],
            [_finite(one.value) for one in found], BAR, xerr=[_finite(one.error) for one in found],
            label=label, color=color, capsize=2, error_kw={"linewidth": 0.8},
        )  # fmt: skip
    axes.set_yticks(range(len(pairs)), [f"{arm.name}: {credit.name}" for arm, credit in pairs], fontsize=9)
    axes.invert_yaxis()
    axes.axvline(1.0, color="black", linewidth=0.8)
    axes.set_xlim(left=0.0)
    axes.set_xlabel("noise tokens of flat samples with rloo / of the arm")
    axes.set_title(result.bench, loc="left", fontsize=11)
    axes.legend(frameon=False, fontsize=9)
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path)


def draw_curves(result: CurvesResult, path: Path) -> None:
    """Held-out reward over engine tokens and over seconds: means of the seeds, with standard errors."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(SIZE[0] * 1.6, SIZE[1]), dpi=DPI, layout="constrained")
    by_tokens, by_seconds = figure.subplots(1, 2, sharey=True)
    for place, (name, found) in enumerate((name, found) for name, found in result.rounds.items() if found):
        rewards = [[one[f"reward@{look}"] for one in found] for look in result.looks]
        means, errors = [sum(one) / len(one) for one in rewards], [_error(one) for one in rewards]
        for axes, unit in ((by_tokens, "tokens"), (by_seconds, "seconds")):
            across = [sum(one[f"{unit}@{look}"] for one in found) / len(found) for look in result.looks]
            axes.errorbar(
                across, means, yerr=errors, label=name, marker=MARKERS[place % len(MARKERS)], markersize=4,
                capsize=2, linewidth=1, elinewidth=0.8,
            )  # fmt: skip
    by_tokens.set_ylabel("reward of held-out tasks")
    by_tokens.set_xlabel("engine tokens")
    by_seconds.set_xlabel("seconds")
    by_tokens.set_title(result.bench, loc="left", fontsize=11)
    by_tokens.legend(frameon=False, fontsize=8)
    for axes in (by_tokens, by_seconds):
        axes.grid(alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path)


def _finite(value: float) -> float:
    return value if math.isfinite(value) else 0.0


def _error(values: Sequence[float]) -> float:
    if len(values) < 2:
        return 0.0
    mean = sum(values) / len(values)
    return math.sqrt(sum((value - mean) ** 2 for value in values) / (len(values) - 1) / len(values))
