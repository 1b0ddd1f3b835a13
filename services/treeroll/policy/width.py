"""The promise every branch policy makes: no tree has more leaves than the run asked for."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product

from treeroll.errors import InvalidInput
from treeroll.policy.base import Limits

# Far above any fan-out in use; keeps one decision's work small.
MAX_FANOUT = 1024
# Larger counts are not spelt out in messages.
MANY = 10**9
# Where settings that fit are looked for: every value up to this one, and halves of larger ones.
EVERY_VALUE = 12
TRIALS = 20_000


@dataclass(frozen=True, slots=True)
class LeafCount:
    """How many leaves a policy's settings make at most.

    `rule` is for people, in the names of the settings; `made` the same of their values, in the order given, and no
    less for larger ones. A setting that is a list counts as a tuple. `at` says what else the rule goes by. `least` are
    the smallest values that settings may have, 1 unless named.
    """

    rule: str
    made: Callable[..., int]
    settings: Mapping[str, int | tuple[int, ...]]
    at: str = ""
    least: Mapping[str, int] = field(default_factory=dict)

    @property
    def most(self) -> int:
        """The count with these settings."""
        return self.made(*self.settings.values())

    def described(self) -> str:
        """The settings, as people write them."""
        parts = [f"{name} {_written(value)}" for name, value in self.settings.items()]
        return f"{', '.join(parts[:-1])} and {parts[-1]}{self.at}" if parts[1:] else f"{parts[0]}{self.at}"

    def fitting(self, leaves: int) -> dict[str, int | tuple[int, ...]] | None:
        """Settings that change, lower than these, to make `leaves` or as many of them as can be; None if none fit.

        Of those that make as many, the ones with the fewest changes, then with the smallest.
        """
        fits = ((made, values) for values in self._lower(leaves) if (made := self._made(values)) <= leaves)
        old = self._values()
        best = min(fits, key=lambda fit: (-fit[0], *_distance(old, fit[1])), default=None)
        if best is None:
            return None
        found = self._settings(best[1])
        return {name: value for name, value in found.items() if value != self.settings[name]}

    def raised(self, leaves: int) -> dict[str, int | tuple[int, ...]] | None:
        """The one setting that, larger than it is, makes as many of `leaves` as one can; None if none makes more."""
        old, best = self._values(), (self.most, list[int]())
        for at, value in enumerate(old):
            low, high = value, MAX_FANOUT
            while low < high:
                middle = (low + high + 1) // 2
                fits = self._made([*old[:at], middle, *old[at + 1 :]]) <= leaves
                low, high = (middle, high) if fits else (low, middle - 1)
            values = [*old[:at], low, *old[at + 1 :]]
            if (made := self._made(values)) > best[0]:
                best = (made, values)
        if not best[1]:
            return None
        found = self._settings(best[1])
        return {name: value for name, value in found.items() if value != self.settings[name]}

    def _values(self) -> list[int]:
        """All settings in a row, lists unrolled."""
        return [one for value in self.settings.values() for one in (value if isinstance(value, tuple) else (value,))]

    def _settings(self, values: Sequence[int]) -> dict[str, int | tuple[int, ...]]:
        left = iter(values)
        return {
            name: tuple(next(left) for _ in value) if isinstance(value, tuple) else next(left)
            for name, value in self.settings.items()
        }

    def _made(self, values: Sequence[int]) -> int:
        return self.made(*self._settings(values).values())

    def _lower(self, leaves: int) -> Iterator[Sequence[int]]:
        """Values to try: of all but the largest setting every one or some, and the largest as large as then fits."""
        old = self._values()
        leasts = [
            min(one, self.least.get(name, 1))
            for name, value in self.settings.items()
            for one in (value if isinstance(value, tuple) else (value,))
        ]
        largest = max(range(len(old)), key=old.__getitem__)
        tried = [[high] if at == largest else _downwards(high, leasts[at]) for at, high in enumerate(old)]
        if math.prod(map(len, tried)) > TRIALS:
            for cap in range(max(old), 0, -1):
                yield [max(least, min(value, cap)) for value, least in zip(old, leasts, strict=True)]
            return
        for values in product(*tried):
            low, high = leasts[largest], old[largest]
            while low < high:
                middle = (low + high + 1) // 2
                fits = self._made([*values[:largest], middle, *values[largest + 1 :]]) <= leaves
                low, high = (middle, high) if fits else (low, middle - 1)
            yield [*values[:largest], low, *values[largest + 1 :]]


def within_leaves(policy: str, count: LeafCount, limits: Limits) -> int:
    """The most leaves that a policy's settings make, if the run's `leaves` allow it.

    Raises:
        InvalidInput: they do not; the sentence has settings that do.
    """
    made = count.most
    if made > limits.leaves:
        many = f"{made}" if made <= MANY else f"more than {MANY}"
        raise InvalidInput(
            f"branch policy '{policy}': {count.described()} can make {many} leaves, above leaves {limits.leaves}; "
            f"{_remedy(count, limits.leaves)}"
        )
    return made


def without_all_leaves(policy: str, count: LeafCount, leaves: int) -> str | None:
    """A sentence for a run that asks for more leaves than the policy's settings make; None if they make as many."""
    if count.most >= leaves:
        return None
    found = count.raised(leaves)
    more = f"; {_sets(count, found)}" if found else ""
    return f"branch policy '{policy}': {count.described()} make {count.most} of the {leaves} leaves asked for{more}"


def _remedy(count: LeafCount, leaves: int) -> str:
    found = count.fitting(leaves)
    return f"raise leaves, or set what fits: {_sets(count, found)}" if found else "raise leaves"


def _sets(count: LeafCount, found: Mapping[str, int | tuple[int, ...]]) -> str:
    made = count.made(*{**count.settings, **found}.values())
    return f"{' '.join(f'--set {_assigned(name, value)}' for name, value in found.items())} makes {made}"


def _assigned(name: str, value: int | tuple[int, ...]) -> str:
    key = f"run.branch.{name}="
    return f"'{key}[{_written(value)}]'" if isinstance(value, tuple) else f"{key}{value}"


def _written(value: int | tuple[int, ...]) -> str:
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)


def _downwards(high: int, least: int) -> list[int]:
    if high <= EVERY_VALUE:
        return list(range(high, least - 1, -1)) or [high]
    values = [high]
    while values[-1] // 2 >= least:
        values.append(values[-1] // 2)
    return values


def _distance(old: Sequence[int], new: Sequence[int]) -> tuple[int, float]:
    pairs = list(zip(old, new, strict=True))
    return sum(before != after for before, after in pairs), sum(before / max(1, after) for before, after in pairs)
