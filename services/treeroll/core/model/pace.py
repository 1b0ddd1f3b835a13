"""How far a run is ahead of its consumers.

A tree takes a place when it starts, and holds it until the slowest group has acknowledged it. No tree starts while all
`ahead` places are taken. Whoever has to wait for trees must not hold the places that those need, so a tree without a
sample gives its place back when it ends, and one that somebody asked for by name needs none.
"""

from array import array
from bisect import bisect_left, bisect_right
from collections import OrderedDict
from dataclasses import dataclass, field


@dataclass(slots=True)
class Standing:
    """How far a consumer group has come in a feed.

    It has been given the first `delivered` entries and has acknowledged all of them but `pending`, which ascend.
    """

    delivered: int
    pending: tuple[int, ...]
    heard_at: float  # on the clock of `now`
    acknowledged: int = 0  # of the trees that hold places for those who have not
    idle: bool = False  # it was not heard for long: it counts only if all are
    timed: bool = False  # a timer is set for it


@dataclass(slots=True)
class Pace:
    """The places of one run.

    Groups count from when they are first heard. One that is late to come has everything before it, so growth waits for
    it like for any other. Without a group, and while all of them are idle, nothing is acknowledged.
    """

    ahead: int
    growing: int = 0  # trees with a place that are not in the feed yet
    # Positions in the feed, from 1, of the trees that have one, ascending; and by tree, those that may be given back:
    # what all groups have acknowledged is left out.
    seqs: "array[int]" = field(default_factory=lambda: array("Q"))
    open: OrderedDict[str, int] = field(default_factory=OrderedDict)
    groups: dict[str, Standing] = field(default_factory=dict)

    @property
    def taken(self) -> int:
        """Places that are taken. More than `ahead` after a group came late, or went back."""
        return self.growing + self.slowest()[1]

    @property
    def full(self) -> bool:
        """Whether no tree may start."""
        return self.taken >= self.ahead

    def slowest(self) -> tuple[str, int]:
        """The group that is waited for, "" without any, and how many trees in the feed it has not acknowledged."""
        counting = {name: group for name, group in self.groups.items() if not group.idle} or self.groups
        name = min(counting, key=lambda name: counting[name].acknowledged, default="")
        return name, len(self.seqs) - (counting[name].acknowledged if name else 0)

    def fed(self, tree_id: str, seq: int) -> None:
        """A tree with samples, which has a place, is in the feed from here on."""
        self.growing -= 1
        self.seqs.append(seq)
        self.open[tree_id] = seq

    def heard(self, name: str, delivered: int, pending: tuple[int, ...], now: float) -> Standing:
        """A group stands there now."""
        timed = name in self.groups and self.groups[name].timed
        group = self.groups[name] = Standing(delivered, pending, now, timed=timed)
        self._count(group)
        floor = min(g.pending[0] - 1 if g.pending else g.delivered for g in self.groups.values())
        while self.open and next(iter(self.open.values())) <= floor:
            self.open.popitem(last=False)
        return group

    def give_back(self, tree_id: str) -> None:
        """A tree in the feed needs no place any more, whoever acknowledges it."""
        if (seq := self.open.pop(tree_id, None)) is None:
            return
        del self.seqs[bisect_left(self.seqs, seq)]
        for group in self.groups.values():
            self._count(group)

    def _count(self, group: Standing) -> None:
        here = bisect_right(self.seqs, group.delivered)
        group.acknowledged = here - sum(map(self._has, group.pending))

    def _has(self, seq: int) -> bool:
        at = bisect_left(self.seqs, seq)
        return at < len(self.seqs) and self.seqs[at] == seq
