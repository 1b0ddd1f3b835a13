"""Token accounts. TokensConserved: granted = spent + returned + outstanding, and nothing is negative."""

from dataclasses import dataclass

from treeroll.errors import BrokenInvariant


@dataclass(slots=True)
class Ledger:
    """Integer token account of a tree or a run.

    Reserve when a branch is granted, settle when its tokens are reported, refund what it did not use when it ends.
    """

    granted: int = 0
    spent: int = 0
    returned: int = 0
    outstanding: int = 0

    def reserve(self, tokens: int) -> None:
        """Set tokens aside for a branch."""
        self.granted += tokens
        self.outstanding += tokens

    def settle(self, tokens: int) -> None:
        """Turn reserved tokens into spent ones."""
        self.outstanding -= tokens
        self.spent += tokens
        if self.outstanding < 0:
            raise self._overdrawn()

    def refund(self, tokens: int) -> None:
        """Give reserved tokens back."""
        self.outstanding -= tokens
        self.returned += tokens
        if self.outstanding < 0:
            raise self._overdrawn()

    def fits(self, tokens: int, budget: int | None) -> bool:
        """Whether a reservation stays inside the budget. None is no budget."""
        return budget is None or self.spent + self.outstanding + tokens <= budget

    def balanced(self) -> bool:
        """TokensConserved for this account."""
        parts = (self.spent, self.returned, self.outstanding)
        return self.granted == sum(parts) and min(parts) >= 0

    def _overdrawn(self) -> BrokenInvariant:
        return BrokenInvariant("TokensConserved", f"outstanding fell to {self.outstanding} tokens")
