"""A branch policy with somebody between it and the core: to check what it does, or to time it."""

from dataclasses import dataclass
from typing import Any

from treeroll.policy.base import ReadsValues
from treeroll.policy.models import named_models


@dataclass(frozen=True, slots=True)
class ObservedPolicy:
    """Says of itself what the policy says; subclasses wrap what `grow` returns."""

    policy: Any

    @property
    def reads_rewards(self) -> bool:
        """The policy's."""
        return bool(self.policy.reads_rewards)

    @property
    def needs_hold(self) -> bool:
        """The policy's."""
        return bool(self.policy.needs_hold)

    @property
    def reads_tokens(self) -> bool:
        """The policy's."""
        return bool(self.policy.reads_tokens)

    @property
    def reads_text(self) -> bool:
        """The policy's."""
        return bool(self.policy.reads_text)

    @property
    def reads_values(self) -> bool:
        """The policy's, if it says anything of it."""
        return isinstance(self.policy, ReadsValues) and self.policy.reads_values

    @property
    def max_leaves(self) -> int:
        """The policy's."""
        return int(self.policy.max_leaves)

    @property
    def models(self) -> tuple[str, ...]:
        """The policy's."""
        return named_models(self.policy)
