"""A branch policy with somebody between it and the core: to check what it does, or to time it."""

from dataclasses import dataclass
from typing import Any

from treeroll.policy.needs import Needs


@dataclass(frozen=True, slots=True)
class ObservedPolicy:
    """Says of itself what the policy says; subclasses wrap what `grow` returns."""

    policy: Any

    @property
    def name(self) -> str:
        """The policy's."""
        return str(self.policy.name)

    @property
    def needs(self) -> Needs:
        """The policy's."""
        needs: Needs = self.policy.needs
        return needs

    @property
    def max_leaves(self) -> int:
        """The policy's."""
        return int(self.policy.max_leaves)
