"""What a run may use at most, and by how much it can be overrun."""

from dataclasses import dataclass

# Tokens a replica may decode past a boundary before it notices that it must stop: two engine output intervals.
STOP_LAG_TOKENS = 32


@dataclass(frozen=True, slots=True)
class Budget:
    """Caps of a run; None is no cap. `tokens` to `tool_calls` are totals of the whole run.

    `leaves` are complete ones. An expansion is a branch beside a tree's initial ones (a fork, a fallback, a split) that
    has made a segment of its own. A tool call is one that was answered. Time ends `seconds` after the run was created,
    or at `deadline` (seconds since the Unix epoch), whichever comes first. `tokens_per_second` is the rate of a token
    bucket that holds `burst_tokens`, full at first. `task_tokens` are for all trees of one task id, over all epochs,
    `tree_tokens` for each tree.
    """

    tokens: int | None = None
    leaves: int | None = None
    expansions: int | None = None
    tool_calls: int | None = None
    seconds: float | None = None
    deadline: float | None = None
    tokens_per_second: int | None = None
    burst_tokens: int = 0
    task_tokens: int | None = None
    tree_tokens: int | None = None

    @property
    def blocks(self) -> bool:
        """Whether a grant may have to wait: anything but time is capped."""
        caps = (self.tokens, self.leaves, self.expansions, self.tool_calls)
        return any(cap is not None for cap in (*caps, self.tokens_per_second, self.task_tokens, self.tree_tokens))


NO_BUDGET = Budget()


def overshoot(branches: int) -> int:
    """Most tokens by which an account can end above its cap, with so many branches running at once.

    A reservation covers the rest of a path, run-ahead credit included; beyond it an engine decodes only until it
    notices that it must stop. An account above its cap grants nothing, so each branch adds to that once.
    """
    return branches * STOP_LAG_TOKENS
