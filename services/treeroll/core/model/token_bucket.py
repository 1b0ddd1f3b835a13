"""A rate as a token bucket, in whole millionths of tokens and of seconds, so that it never drifts."""

from dataclasses import dataclass

from treeroll.core.model.budget import Budget

MILLION = 1_000_000


@dataclass(slots=True, eq=False)
class Bucket:
    """Room for grants that grows by `rate` tokens a second up to `burst` tokens; an account like a `Ledger`.

    Reservations take room, refunds give it back. From creation to any later time, t seconds on, not more than
    burst + rate * t tokens are spent, but for what engines decode beyond reservations.
    """

    rate: int
    burst: int
    since: int  # when it was created or restored, and when it was last filled, in millionths of a second
    at: int
    level: int  # in millionths of a token
    first_level: int  # the level at `since`
    before: int = 0  # tokens that had been used by then
    put_back: bool = False  # the clock was, before `since`: nobody knows how much time had filled it until then

    @classmethod
    def full(cls, budget: Budget, now: float) -> "Bucket | None":
        """A run's bucket when the run is created; None without a rate."""
        if budget.tokens_per_second is None:
            return None
        at, burst = int(now * MILLION), budget.burst_tokens
        return cls(budget.tokens_per_second, burst, at, at, burst * MILLION, burst * MILLION)

    def restore(self, level: int, at: float, used: int, now: float) -> None:
        """It goes on with the level, in millionths of a token, that it had at a time of an earlier process, when so
        many tokens had been used. Clocks may have been put back since: no time has passed then.

        The level has in it what was reserved, and may be above `burst`: branches that go on reserve it again before the
        next refill, which takes away the rest.
        """
        self.put_back = now < at
        self.since = self.at = min(int(at * MILLION), int(now * MILLION))
        self.level = self.first_level = level
        self.before = used

    def refill(self, now: float) -> None:
        """Add what time has brought since it was last filled."""
        at = max(self.at, int(now * MILLION))
        self.level = min(self.burst * MILLION, self.level + self.rate * (at - self.at))
        self.at = at

    @property
    def room(self) -> int:
        """Whole tokens that can be reserved, as of the last refill."""
        return self.level // MILLION

    def fits(self, amount: int) -> bool:
        """Whether there is room for a reservation, as of the last refill."""
        return amount * MILLION <= self.level

    def ready_at(self, amount: int) -> float:
        """The time from which on so many tokens fit, in seconds, if nothing else happens."""
        lacking = amount * MILLION - self.level
        wait = -(-lacking // self.rate) if lacking > 0 else 0
        # One more, for `now` is rounded down to whole millionths.
        return (self.at + wait + 1) / MILLION

    def reserve(self, amount: int) -> None:
        """Take room for a branch: what fits, or what an earlier process had reserved."""
        self.level -= amount * MILLION
        if self.level < 0 and self.put_back:  # in the time that nobody knows of it was filled at least so far
            self.first_level -= self.level
            self.level = 0

    def exceed(self, amount: int) -> None:
        """An engine decoded more than was set aside: room is owed."""
        self.level -= amount * MILLION

    def settle(self, amount: int) -> None:
        """What was reserved is spent: its room is gone already."""

    def refund(self, amount: int) -> None:
        """Give back what was reserved."""
        self.level = min(self.burst * MILLION, self.level + amount * MILLION)

    def allows(self, tokens: int, now: float) -> bool:
        """Whether so many tokens in all may have been used by now."""
        filled = self.first_level + self.rate * (int(now * MILLION) - self.since)
        return (tokens - self.before) * MILLION <= filled
