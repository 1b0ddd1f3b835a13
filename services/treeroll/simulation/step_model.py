"""How long an engine takes for a decode step and for prefill, and the fit of both to measured times."""

from collections.abc import Sequence
from dataclasses import dataclass

from treeroll.errors import InvalidInput


@dataclass(frozen=True, slots=True)
class StepModel:
    """A decode step costs the same for any batch up to a knee, then more with every request; prefill is linear."""

    step_s: float
    """Seconds of a step with at most `knee` requests; every running request gains one token in a step."""
    knee: int
    per_request_s: float
    """Seconds that each request above the knee adds to a step."""
    prefill_token_s: float
    """Seconds for each prefix token that is not in the KV cache; nothing decodes meanwhile."""

    def decode_s(self, batch: int) -> float:
        """Seconds of one step."""
        return self.step_s + self.per_request_s * max(0, batch - self.knee)

    def best_rate(self, slots: int) -> float:
        """Most tokens per second that any batch of at most `slots` requests decodes."""
        return max(batch / self.decode_s(batch) for batch in range(1, slots + 1))


def gpu_like(step_s: float, knee: int, prefill_token_s: float) -> StepModel:
    """What GPUs do, as an assumption: a step costs in proportion to its batch above the knee.

    It reads all weights, so it costs the same until attention over the batch's KV, or arithmetic, costs as much again.
    """
    return StepModel(step_s, knee, step_s / knee, prefill_token_s)


def fit(steps: Sequence[tuple[int, float]], prefills: Sequence[tuple[int, float]]) -> StepModel:
    """Least squares over (batch size, seconds per step) and (uncached tokens, seconds to the first token).

    The knee is the measured batch size with the smallest error; the constant of the prefill line (a request's
    overhead and its first step) is left out.

    Raises:
        InvalidInput: fewer than two batch sizes or prefill lengths were measured.
    """
    for what, points in (("batch sizes", steps), ("prefill lengths", prefills)):
        if len({x for x, _ in points}) < 2:
            raise InvalidInput(f"a step model needs at least two {what} to be fitted, got {len(points)} measurements")
    fits = [_hinge(steps, knee) for knee in sorted({batch for batch, _ in steps})[:-1]]
    _, knee, step_s, per_request_s = min(fits)
    _, prefill_token_s = _line(prefills)
    return StepModel(step_s, knee, per_request_s, max(0.0, prefill_token_s))


def _hinge(steps: Sequence[tuple[int, float]], knee: int) -> tuple[float, int, float, float]:
    """(squared error relative to each time, knee, seconds below it, seconds per request above it)."""
    bent = [(max(0, batch - knee), seconds) for batch, seconds in steps]
    base, slope = _line(bent)
    slope = max(0.0, slope)
    error = sum((base + slope * extra - seconds) ** 2 / seconds**2 for extra, seconds in bent)
    return error, knee, base, slope


def _line(points: Sequence[tuple[int, float]]) -> tuple[float, float]:
    """Constant and slope of the line with the least squares of relative errors: small times count as much as big ones.

    The constant is never negative.
    """
    weights = [1 / seconds**2 for _, seconds in points]
    whole = sum(weights)
    mean_x = sum(w * x for w, (x, _) in zip(weights, points, strict=True)) / whole
    mean_y = sum(w * y for w, (_, y) in zip(weights, points, strict=True)) / whole
    spread = sum(w * (x - mean_x) ** 2 for w, (x, _) in zip(weights, points, strict=True))
    slope = sum(w * (x - mean_x) * (y - mean_y) for w, (x, y) in zip(weights, points, strict=True)) / spread
    return max(0.0, mean_y - slope * mean_x), slope
