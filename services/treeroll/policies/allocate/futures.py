"""What is left of a run, simulated: how many of its tasks a plan solves in time.

A plan gives this task one count of leaves and all later ones another. Sums over the tasks of a simulation depend
neither on the plan nor on what is left, so they are kept, and a question only looks them up.
"""

import math
from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate, repeat
from operator import getitem, mul
from typing import Final, NamedTuple

# A plan must be better than the one before it by more than rounding, and may spend more than there is by as much.
ROUNDING: Final = 1e-12


class Ended(NamedTuple):
    """A tree that ended."""

    seconds: float
    tokens: float  # per leaf
    rate: float  # share of its leaves that succeeded


class Left(NamedTuple):
    """What there is to spend, infinite where there is no limit, and the tasks behind this one.

    The first `drawn` of a simulation's are played, and each stands for `each`.
    """

    tokens: float
    seconds: float
    slots: int
    drawn: int
    each: float


class Sums:
    """Over the first 1, 2, 3 ... later tasks of each simulation."""

    def __init__(self, simulations: int) -> None:
        self.rows: list[list[float]] = [[]] * simulations
        self._most: float | None = None  # of all sums, when somebody has asked

    def put(self, number: int, amounts: Sequence[float]) -> None:
        """What the tasks of a simulation take."""
        self.rows[number] = list(accumulate(amounts))
        self._most = None

    def within(self, unit: float, limits: Sequence[float], ends: Sequence[int]) -> Sequence[int]:
        """How many tasks of each simulation, `end` at most, take no more than its limit, at `unit` times as much."""
        scale = (1 + ROUNDING) / unit
        if self._most is None:
            self._most = max((row[-1] for row in self.rows if row), default=0.0)
        if min(limits) * scale >= self._most:
            return ends
        return list(map(bisect_right, self.rows, [limit * scale for limit in limits], repeat(0), ends))


class Futures:
    """Simulations: in each this task, and later ones in the order they start. Lists are by simulation."""

    def __init__(self, counts: Sequence[int], simulations: int) -> None:
        self._counts = counts
        self._this: list[Ended] = [Ended(0.0, 0.0, 0.0)] * simulations
        self._tokens, self._seconds = Sums(simulations), Sums(simulations)  # with one leaf
        self._lengths: list[list[float]] = [[]] * simulations
        self._longest = [0.0] * simulations
        # By count of leaves: the chances that this task and each later one are solved, and their sums over the first 0,
        # 1, 2 ... of the latter.
        self._own = {count: [0.0] * simulations for count in counts}
        self._chances: dict[int, list[list[float]]] = {count: [[]] * simulations for count in counts}
        self._solved: dict[int, list[list[float]]] = {count: [[]] * simulations for count in counts}

    def put(self, number: int, this: Ended, later: Sequence[Ended]) -> None:
        """The tasks of a simulation, from now on."""
        lengths = [tree.seconds for tree in later]
        self._this[number], self._lengths[number], self._longest[number] = this, lengths, max(lengths, default=0.0)
        self._tokens.put(number, [tree.tokens for tree in later])
        self._seconds.put(number, lengths)
        for count in self._counts:
            self._own[count][number] = 1 - (1 - this.rate) ** count
            self._chances[count][number] = chances = [1 - (1 - tree.rate) ** count for tree in later]
            self._solved[count][number] = list(accumulate(chances, initial=0.0))

    def best_count(self, left: Left, rate: float | None) -> int:
        """This task's count in the best plan, the first of equal ones. `rate` is its own, if that is known."""
        best, chosen = -1.0, self._counts[0]
        for count in self._counts:
            tokens = [left.tokens - count * task.tokens for task in self._this]
            seconds = [left.seconds - count * task.seconds / left.slots for task in self._this]
            own = self._own_solved(count, left, tokens, rate)
            for later in self._counts:
                enough = (best - own) / left.each
                solved = own + left.each * self._later_solved(later, left, tokens, seconds, enough)
                if solved > best + ROUNDING * (1 + best):
                    best, chosen = solved, count
        return chosen

    def _own_solved(self, count: int, left: Left, tokens: Sequence[float], rate: float | None) -> float:
        """In how many simulations this task is solved in time."""
        longest = left.seconds / max(1.0, count / left.slots)
        in_time = [rest >= 0 and task.seconds <= longest for rest, task in zip(tokens, self._this, strict=True)]
        if rate is not None:
            return sum(in_time) * (1 - (1 - rate) ** count)
        return math.fsum(map(mul, self._own[count], in_time))

    def _later_solved(
        self, count: int, left: Left, tokens: Sequence[float], seconds: Sequence[float], enough: float
    ) -> float:
        """How many later tasks of all simulations are solved in time; about how many, if that is below `enough`."""
        unit = count * left.each
        paid = self._tokens.within(unit, tokens, [left.drawn] * len(tokens))
        begun = self._seconds.within(unit / left.slots, seconds, paid)
        solved = math.fsum(map(getitem, self._solved[count], begun))
        # The share of its seconds that a tree runs on beyond its share of the slots.
        alone = max(0.0, 1 - count / left.slots)
        if solved < enough or not alone:
            return solved
        safe = [rest - alone * longest for rest, longest in zip(seconds, self._longest, strict=True)]
        sure = self._seconds.within(unit / left.slots, safe, begun)
        for number, places in enumerate(map(range, sure, begun)):
            if places:
                solved -= self._late(number, count, places, unit / left.slots, alone, seconds[number])
        return solved

    def _late(self, number: int, count: int, places: Sequence[int], unit: float, alone: float, seconds: float) -> float:
        """How many of a simulation's later tasks at these places would be solved, but too late."""
        limit = seconds + ROUNDING * abs(seconds)
        begins, lengths, chances = self._seconds.rows[number], self._lengths[number], self._chances[count][number]
        return sum([chances[place] for place in places if begins[place] * unit + alone * lengths[place] > limit])
