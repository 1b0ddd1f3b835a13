"""Accounts of what runs use. TokensConserved: granted = spent + returned + outstanding, and nothing is negative."""

from dataclasses import dataclass

from treeroll.errors import BrokenInvariant
from treeroll.invariants import Invariant


@dataclass(slots=True, eq=False)
class Ledger:
    """Integer account of one resource in a tree, a task or a run.

    Reserve when a branch is granted, settle when its use is reported, refund what it did not use when it ends. `key` is
    that of the cap in a run's `budget`; a cap of None is no cap. `excess` are the tokens that engines decoded beyond
    what was reserved, which no blocking can prevent.
    """

    key: str = "tokens"
    cap: int | None = None
    granted: int = 0
    spent: int = 0
    returned: int = 0
    outstanding: int = 0
    excess: int = 0

    @property
    def room(self) -> int | None:
        """What can be reserved now; None without a cap. Negative after an overrun."""
        return None if self.cap is None else self.cap - self.spent - self.outstanding

    def fits(self, amount: int) -> bool:
        """Whether a reservation stays inside the cap."""
        return self.cap is None or self.spent + self.outstanding + amount <= self.cap

    def reserve(self, amount: int) -> None:
        """Set something aside for a branch."""
        self.granted += amount
        self.outstanding += amount

    def exceed(self, amount: int) -> None:
        """An engine decoded more than was set aside."""
        self.reserve(amount)
        self.excess += amount

    def settle(self, amount: int) -> None:
        """Turn what was reserved into what is spent."""
        self.outstanding -= amount
        self.spent += amount
        if self.outstanding < 0:
            raise self._overdrawn()

    def refund(self, amount: int) -> None:
        """Give back what was reserved."""
        self.outstanding -= amount
        self.returned += amount
        if self.outstanding < 0:
            raise self._overdrawn()

    def balanced(self) -> bool:
        """TokensConserved for this account: it adds up, and is above its cap by declared overshoot only."""
        parts = (self.spent, self.returned, self.outstanding, self.excess)
        within = self.cap is None or self.spent + self.outstanding <= self.cap + self.excess
        return self.granted == sum(parts[:3]) and min(parts) >= 0 and within

    def _overdrawn(self) -> BrokenInvariant:
        return BrokenInvariant(Invariant.TOKENS_CONSERVED, f"outstanding {self.key} fell to {self.outstanding}")
