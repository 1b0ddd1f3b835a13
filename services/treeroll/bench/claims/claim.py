"""A claim of a paper, what is measured of it, and the verdict."""

import math
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Literal

from treeroll.bench.claims.arena import Arena
from treeroll.bench.claims.statistics import Gap
from treeroll.bench.result import Column
from treeroll.bench.rounds import Figures, median
from treeroll.errors import InvalidInput
from treeroll.policies import recipes, registry


class Verdict(StrEnum):
    """Whether what a paper says is so for the demo model on the demo tasks."""

    HOLDS = "holds here"
    FAILS = "does not hold here"
    UNDECIDED = "not to be told here"
    OTHER = "not comparable here"
    UNMEASURED = "not measured"


@dataclass(frozen=True)
class Plot:
    """A claim's picture: per series, its points as (x, or a figure that is x; figure that is y).

    Series of one point each, all with x None, become bars.
    """

    x: str
    y: str
    series: Mapping[str, Sequence[tuple[float | str | None, str]]]


@dataclass(frozen=True)
class Claim:
    """One row of the table.

    `says` is the claim, `conditions` are those of the paper, and what differs here. `judge` looks at the figures of all
    seeds, and says why, in a few words. `needs` are (kind, name) of what must be registered: "recipe", or a kind of
    policy.
    """

    name: str
    paper: str
    says: str
    conditions: str
    columns: Sequence[Column]
    measure: Callable[[Arena, int], Awaitable[Figures]]
    judge: Callable[[Sequence[Figures]], tuple[Verdict, str]]
    plot: Plot | None = None
    needs: Sequence[tuple[str, str]] = ()
    model: Literal["demo", "tools"] = "demo"

    def missing(self) -> str | None:
        """Why it cannot be measured, if it cannot."""
        absent = [f"{kind} {name}" for kind, name in self.needs if not registered(kind, name)]
        return f"there is no {' and no '.join(absent)} here" if absent else None

    def verdict(self, rounds: Sequence[Figures]) -> tuple[Verdict, str]:
        """The verdict over all seeds; without any, why there are none."""
        return self.judge(rounds) if rounds else (Verdict.UNMEASURED, self.missing() or "no seed ran")

    def measured(self, rounds: Sequence[Figures]) -> str:
        """Median and range of every figure, one a line."""
        return "\n".join(f"{column.title}: {spread(rounds, column)}" for column in self.columns)


def registered(kind: str, name: str) -> bool:
    """Whether there is such a recipe, or such a policy of that kind."""
    try:
        if kind == "recipe":
            recipes.get(name)
        else:
            registry.find(kind, name)
    except InvalidInput:
        return False
    return True


def spread(rounds: Sequence[Figures], column: Column) -> str:
    """Median (lowest-highest) of a figure."""
    values = [figures[column.figure] for figures in rounds if column.figure in figures]
    if not values:
        return "-"
    middle, low, high = (f"{value:,.{column.digits}f}" for value in (median(values), min(values), max(values)))
    return middle if low == high else f"{middle} ({low}-{high})"


def middle(rounds: Sequence[Figures], figure: str) -> float:
    """Median of a figure over the seeds."""
    return median([figures[figure] for figures in rounds])


def holds(so: bool, why: str) -> tuple[Verdict, str]:
    """The verdict of a comparison."""
    return (Verdict.HOLDS if so else Verdict.FAILS), why


# Points that "as often right" may be less, two standard errors of the difference included.
MARGIN: Final = 5.0


def gap_figures(name: str, gap: Gap) -> dict[str, float]:
    """Two figures of a seed: the difference and its error."""
    return {name: gap.points, f"{name}_error": gap.error}


def pooled(rounds: Sequence[Figures], name: str) -> Gap:
    """The difference over all seeds, which draw other tasks each."""
    errors = [figures[f"{name}_error"] for figures in rounds]
    return Gap(
        math.fsum(figures[name] for figures in rounds) / len(rounds),
        math.sqrt(math.fsum(error * error for error in errors)) / len(rounds),
    )


def told(gap: Gap) -> str:
    """A difference in words, with its standard error."""
    side = "above" if gap.points >= 0 else "below"
    return f"{abs(gap.points):.1f} points {side} (standard error of the difference by task {gap.error:.1f})"


def no_less_right(cheap: bool, gap: Gap, why: str) -> tuple[Verdict, str]:
    """The verdict of a claim to be as often right, and cheap: what the error leaves open is not decided."""
    if not cheap or gap.points + 2 * gap.error < 0:
        return Verdict.FAILS, why
    return (Verdict.HOLDS if gap.points - 2 * gap.error >= -MARGIN else Verdict.UNDECIDED), why


def percent(part: float, whole: float) -> float:
    """Share in percent, 0 of nothing."""
    return 100.0 * part / whole if whole else 0.0


def lowest(rounds: Sequence[Figures], figure: str) -> float:
    """The smallest of a figure over the seeds: what holds with every seed."""
    return min(figures[figure] for figures in rounds)
