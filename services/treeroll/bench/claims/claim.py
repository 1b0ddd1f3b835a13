"""A claim of a paper, what is measured of it, and the verdict."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from treeroll.bench.claims.arena import Arena
from treeroll.bench.result import Column
from treeroll.bench.rounds import Figures, median


class Verdict(StrEnum):
    """Whether what a paper says is so for the demo model on the demo tasks."""

    HOLDS = "holds here"
    FAILS = "does not hold here"
    OTHER = "not comparable here"
    UNMEASURED = "not measured"


@dataclass(frozen=True)
class Claim:
    """One row of the table.

    `says` is the claim, `conditions` are those of the paper, and what differs here. `judge` looks at the figures of all
    seeds, and says why, in a few words.
    """

    name: str
    paper: str
    says: str
    conditions: str
    columns: Sequence[Column]
    measure: Callable[[Arena, int], Awaitable[Figures]]
    judge: Callable[[Sequence[Figures]], tuple[Verdict, str]]

    def measured(self, rounds: Sequence[Figures]) -> str:
        """Median and range of every figure, one a line."""
        return "\n".join(f"{column.title}: {spread(rounds, column)}" for column in self.columns)


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


def percent(part: float, whole: float) -> float:
    """Share in percent, 0 of nothing."""
    return 100.0 * part / whole if whole else 0.0
