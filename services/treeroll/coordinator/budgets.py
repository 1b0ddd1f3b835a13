"""A run's budget from its configuration. What cannot work is refused here, before the run exists."""

from datetime import UTC, datetime

from treeroll.config import RunConfig
from treeroll.core.model.budget import Budget
from treeroll.errors import InvalidInput
from treeroll.policy.base import SegmentPolicy


def run_budget(config: RunConfig, max_tokens: int, segment: SegmentPolicy) -> Budget:
    """The caps of a run whose paths have at most so many tokens. InvalidInput names what clashes."""
    caps = config.budget
    if caps.tool_calls is not None and segment.tool is None:
        raise InvalidInput(
            "budget.tool_calls is set, but the segment policy has no tool; use one that has: see `treeroll policies`"
        )
    rate, burst = caps.tokens_per_second, caps.burst_tokens
    if burst is not None and burst < max_tokens:
        raise InvalidInput(
            f"budget.burst_tokens is {burst}, but one branch may need max_tokens {max_tokens}: none would ever start"
        )
    return Budget(
        tokens=total_tokens(config),
        leaves=caps.leaves,
        expansions=caps.expansions,
        tool_calls=caps.tool_calls,
        seconds=caps.seconds,
        deadline=None if caps.deadline is None else caps.deadline.timestamp(),
        tokens_per_second=rate,
        burst_tokens=0 if rate is None else burst or max(rate, max_tokens),
        task_tokens=caps.task_tokens,
        tree_tokens=caps.tree_tokens,
    )


def total_tokens(config: RunConfig) -> int | None:
    """The run's budget of tokens, by whichever of its two names it was given."""
    return config.budget_tokens if config.budget_tokens is not None else config.budget.tokens


def check_deadline(config: RunConfig, wall: float) -> None:
    """InvalidInput for a new run whose deadline is not to come; `wall` is the time in seconds since the epoch."""
    deadline = config.budget.deadline
    if deadline is not None and deadline.timestamp() <= wall:
        now = datetime.fromtimestamp(wall, UTC).isoformat(timespec="seconds")
        raise InvalidInput(f"budget.deadline {deadline.isoformat()} is in the past: it is {now}")
