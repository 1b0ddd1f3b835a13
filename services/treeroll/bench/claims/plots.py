"""One picture per claim: medians of all seeds, with bars from the lowest to the highest."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Final

from treeroll.bench.claims.claim import Claim, Plot
from treeroll.bench.rounds import Figures, median
from treeroll.errors import InvalidInput

SIZE: Final = (6.4, 4.2)  # inches
DPI: Final = 150
# Markers as well as colours: a picture may be printed, or seen by somebody who tells few colours apart.
MARKERS: Final = "osD^vPX*"


def check_matplotlib() -> None:
    """InvalidInput before half an hour of measuring, not after it."""
    try:
        import matplotlib  # noqa: F401
    except ModuleNotFoundError:
        raise InvalidInput("--plots needs matplotlib, which is not installed: install treeroll[plots]") from None


def draw(claims: Iterable[tuple[Claim, Sequence[Figures]]], folder: Path) -> list[Path]:
    """Write NAME.png for every claim that was measured and has a picture. The files, in order."""
    check_matplotlib()
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for claim, rounds in claims:
        if claim.plot is not None and rounds:
            written.append(folder / f"{claim.name}.png")
            _draw(claim, claim.plot, rounds, written[-1])
    return written


def _draw(claim: Claim, plot: Plot, rounds: Sequence[Figures], path: Path) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=SIZE, dpi=DPI, layout="constrained")
    axes = figure.add_subplot()
    verdict, _ = claim.verdict(rounds)
    axes.set_title(f"{claim.name}: {verdict.value}", loc="left", fontsize=11)
    if all(x is None for points in plot.series.values() for x, _ in points):
        _bars(axes, plot, rounds)
    else:
        _points(axes, plot, rounds)
        axes.legend(frameon=False, fontsize=9)
    axes.set_xlabel(plot.x)
    axes.set_ylabel(plot.y)
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path)


def _bars(axes: Any, plot: Plot, rounds: Sequence[Figures]) -> None:
    names = list(plot.series)
    spans = [_span(rounds, plot.series[name][0][1]) for name in names]
    # Names are long: bars lie, the first on top.
    axes.barh(names, [middle for middle, _, _ in spans], color="#4c78a8", xerr=_errors(spans), capsize=3)
    axes.invert_yaxis()
    for place, (middle, _, high) in enumerate(spans):
        axes.annotate(f"{middle:.3g}", (high, place), (5, 0), textcoords="offset points", va="center", fontsize=9)
    axes.margins(x=0.12)
    axes.set_xlim(left=min(0.0, *(low for _, low, _ in spans)))


def _points(axes: Any, plot: Plot, rounds: Sequence[Figures]) -> None:
    for place, (name, points) in enumerate(plot.series.items()):
        known = [(x, y) for x, y in points if any(y in found for found in rounds)]
        across = [_span(rounds, x) if isinstance(x, str) else (x or 0.0,) * 3 for x, _ in known]
        up = [_span(rounds, y) for _, y in known]
        axes.errorbar(
            [middle for middle, _, _ in across],
            [middle for middle, _, _ in up], xerr=_errors(across), yerr=_errors(up),
            label=name,
            marker=MARKERS[place % len(MARKERS)], capsize=2, linewidth=1, elinewidth=0.8,
        )  # fmt: skip


def _span(rounds: Sequence[Figures], figure: str) -> tuple[float, float, float]:
    values = [found[figure] for found in rounds if figure in found]
    return median(values), min(values), max(values)


def _errors(spans: Sequence[tuple[float, float, float]]) -> list[list[float]]:
    return [[middle - low for middle, low, _ in spans], [high - middle for middle, _, high in spans]]
