"""Interleaved rounds, A B C A B C, after a warm-up: a machine that drifts meets every variant alike."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence

from treeroll.errors import TreerollError

Figures = Mapping[str, float]
"""What one round of one variant measured: figure -> value."""
Variant = Callable[[int], Awaitable[Figures]]
"""Runs one round. Its argument is the round's number, 0 for a warm-up: for seeds, equal for all variants."""


class Rounds(dict[str, list[Figures]]):
    """Variant -> its figures, round by round. Round i of every variant ran close in time: compare those."""

    cut_short = ""
    """Why there are fewer rounds than were asked for."""


async def run_rounds(
    variants: Mapping[str, Variant], rounds: int, note: Callable[[str], None], warm_ups: int = 1
) -> Rounds:
    """Measure every variant `rounds` times. The figures of warm-ups are thrown away. `note` gets one line per round.

    Where a later round than the first fails or is interrupted, the rounds before it are returned, see `cut_short`.
    """
    measured = Rounds({name: [] for name in variants})
    for number in [*[0] * warm_ups, *range(1, rounds + 1)]:
        figures = {}
        try:
            for name, variant in variants.items():
                note(f"{f'round {number}/{rounds}' if number else 'warm-up'}: {name}")
                figures[name] = await variant(number)
        except (TreerollError, asyncio.CancelledError) as error:
            if number < 2:
                raise
            measured.cut_short = _why(error, f"round {number} of {rounds}")
            return measured
        if number:
            for name, found in figures.items():
                measured[name].append(found)
    return measured


def _why(error: BaseException, where: str) -> str:
    task = asyncio.current_task()
    if not isinstance(error, asyncio.CancelledError) or task is None:
        return f"{where} failed: {error}"
    task.uncancel()  # it has ended as it was asked to, with a result
    return f"{where} was interrupted"


def median(values: Sequence[float]) -> float:
    """Middle value; the mean of the two middle ones of an even number."""
    ordered = sorted(values)
    middle = len(ordered) // 2
    return ordered[middle] if len(ordered) % 2 else (ordered[middle - 1] + ordered[middle]) / 2


def ratios(rounds: Rounds, figure: str, of: str, to: str) -> list[float]:
    """The figure of one variant over that of another, round by round; rounds without either are left out."""
    pairs = zip(rounds[of], rounds[to], strict=True)
    return [a[figure] / b[figure] for a, b in pairs if b.get(figure) and figure in a]
