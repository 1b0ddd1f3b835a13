"""Interleaved rounds, A B C A B C, after a warm-up: a machine that drifts meets every variant alike."""

from collections.abc import Awaitable, Callable, Mapping, Sequence

Figures = Mapping[str, float]
"""What one round of one variant measured: figure -> value."""
Rounds = dict[str, list[Figures]]
"""Variant -> its figures, round by round. Round i of every variant ran close in time: compare those."""
Variant = Callable[[int], Awaitable[Figures]]
"""Runs one round. Its argument is the round's number, 0 for a warm-up: for seeds, equal for all variants."""


async def run_rounds(
    variants: Mapping[str, Variant], rounds: int, note: Callable[[str], None], warm_ups: int = 1
) -> Rounds:
    """Measure every variant `rounds` times. The figures of warm-ups are thrown away. `note` gets one line per round."""
    measured: Rounds = {name: [] for name in variants}
    for number in [*[0] * warm_ups, *range(1, rounds + 1)]:
        for name, variant in variants.items():
            note(f"{f'round {number}/{rounds}' if number else 'warm-up'}: {name}")
            figures = await variant(number)
            if number:
                measured[name].append(figures)
    return measured


def median(values: Sequence[float]) -> float:
    """Middle value; the mean of the two middle ones of an even number."""
    ordered = sorted(values)
    middle = len(ordered) // 2
    return ordered[middle] if len(ordered) % 2 else (ordered[middle - 1] + ordered[middle]) / 2


def ratios(rounds: Rounds, figure: str, of: str, to: str) -> list[float]:
    """The figure of one variant over that of another, round by round; rounds without either are left out."""
    pairs = zip(rounds[of], rounds[to], strict=True)
    return [a[figure] / b[figure] for a, b in pairs if b.get(figure) and figure in a]
