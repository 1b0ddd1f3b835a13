"""A run with `ahead` waits for its consumers, never the other way round, and never for one that is gone."""

import random
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from treeroll.core.model.budget import Budget
from treeroll.core.model.delivery import DeliveryRules
from treeroll.core.model.effects import Effect, EmitTree, StartBranch
from treeroll.core.model.events import GroupHeard, TreesAsked, TreesWithheld
from treeroll.core.model.live_tree import TreeStatus
from treeroll.simulation.world import World
from treeroll.store.lease_id import LeaseId
from treeroll.store.memory_group import MemoryGroup

FOREVER_S = 1e9
# Trees that end without a sample for trainers.
EMPTY = (TreeStatus.FAILED, TreeStatus.FILTERED)


class Consumed(World):
    """A world with consumer groups over the run's feed, as the store keeps them, and what they know of it."""

    def __init__(
        self, ahead: int, idle_s: float = FOREVER_S, drop: bool = False, window: int | None = None, **fields: Any
    ) -> None:
        super().__init__(**{"seed": 3, "leaves": 2, "max_depth": 2, **fields})
        filters = frozenset(["zero_advantage"] if drop else [])
        self.spec = replace(self.spec, delivery=DeliveryRules(ahead, idle_s, drop=filters, window=window))
        self.ahead = ahead
        self.feed: list[str] = []
        self.groups: dict[str, MemoryGroup] = {}
        self.held: dict[str, list[LeaseId]] = {}
        self.started: list[str] = []
        self.asked: set[str] = set()
        self.gone: set[str] = set()  # groups that nobody waits for any more

    def _perform(self, effect: Effect) -> None:
        super()._perform(effect)
        if isinstance(effect, EmitTree):
            self.feed.append(effect.live.tree_id)
        if isinstance(effect, StartBranch) and effect.tree_id not in self.started:
            self.started.append(effect.tree_id)
            if effect.tree_id not in self.asked:
                assert len(self.places()) <= self.ahead

    def places(self) -> set[str]:
        """Trees that started, that the slowest group has not acknowledged, and that no exception is made for."""
        here = set(self.started) - self.asked - {name for name, live in self.finished.items() if live.status in EMPTY}
        acknowledged = [here & self.acknowledged(name) for name in self.groups.keys() - self.gone]
        return here - min(acknowledged, key=len, default=set())

    def acknowledged(self, name: str) -> set[str]:
        group = self.groups[name]
        return {self.feed[seq - 1] for seq in range(1, group.delivered + 1) if seq not in group.lent}

    def lease(self, name: str, count: int) -> None:
        group = self.groups.setdefault(name, MemoryGroup())
        self.tell(name)
        self.held.setdefault(name, []).extend(group.lend(len(self.feed), "c", count, self.now, FOREVER_S))
        self.tell(name)

    def ack(self, name: str, leases: list[LeaseId]) -> None:
        for lease in leases:
            self.held[name].remove(lease)
            assert self.groups[name].ack(str(lease))
        self.tell(name)

    def tell(self, name: str) -> None:
        group = self.groups[name]
        self._feed(GroupHeard("run", name, group.delivered, tuple(sorted(group.lent))))

    def ask(self, *numbers: int) -> None:
        names = [f"tree{number}" for number in numbers]
        self.asked.update(names)
        self._feed(TreesAsked("run", names))

    def grow(self) -> None:
        """Until nothing happens without consumers."""
        while self.queue:
            self.go_on()

    def batch(self, name: str, trees: int) -> None:
        """As a trainer does it: hold so many trees with samples, or all that come, then acknowledge them."""
        while sum(map(self.has_samples, self.held.get(name, []))) < trees:
            before = len(self.held.get(name, []))
            self.lease(name, trees)
            if len(self.held[name]) > before:
                continue
            if not self.queue:
                slower = [other for other in self.groups if other != name and self.owes(other)]
                assert slower or len(self.feed) == self.tasks, "consumer and producer wait for each other"
                break
            self.go_on()
        self.ack(name, list(self.held[name]))

    def has_samples(self, lease: LeaseId) -> bool:
        return self.finished[self.feed[lease.seq - 1]].status not in EMPTY

    def owes(self, name: str) -> bool:
        return self.acknowledged(name) != set(self.feed)


def world(ahead: int, **fields: Any) -> Consumed:
    made = Consumed(ahead, **fields)
    made.start()
    return made


@given(
    seed=st.integers(0, 10_000),
    ahead=st.integers(1, 6),
    groups=st.integers(1, 3),
    budget=st.sampled_from([None, Budget(task_tokens=60), Budget(tokens=2000)]),
    drop=st.booleans(),
    window=st.sampled_from([None, 1, 3]),
)
@settings(max_examples=40, deadline=None)
def test_the_producer_is_never_further_ahead_than_it_may_be_and_never_stands_still(
    seed: int, ahead: int, groups: int, budget: Budget | None, drop: bool, window: int | None
) -> None:
    chance = random.Random(f"pace-{seed}")
    paced = world(ahead, seed=seed, tasks=20, budget=budget, drop=drop, window=window)
    names = [f"g{number}" for number in range(groups)]
    while len(paced.feed) < 20 or any(map(paced.owes, paced.groups)):
        for _ in range(chance.randrange(12)):
            if paced.queue:
                paced.go_on()
        name = chance.choice(names)
        match chance.randrange(4):
            case 0:
                paced.batch(name, chance.randint(1, ahead))
            case 1:  # some of what it holds, in any order
                paced.lease(name, chance.randint(1, 3))
                held = paced.held[name]
                paced.ack(name, chance.sample(held, chance.randint(0, len(held))))
            case 2:
                paced.ask(*chance.sample(range(20), chance.randint(1, 3)))
            case _:
                for everyone in paced.groups:  # so that a slow one does not hold the others up for ever
                    paced.lease(everyone, 20)
                    paced.ack(everyone, list(paced.held[everyone]))
    paced.grow()
    assert sorted(paced.feed) == sorted(f"tree{n}" for n in range(20))


@pytest.mark.parametrize("ahead", [1, 3])
def test_without_a_group_growth_stops_at_ahead(ahead: int) -> None:
    paced = world(ahead, tasks=8)
    paced.grow()
    assert len(paced.feed) == len(paced.started) == ahead


def test_growth_follows_the_slowest_group() -> None:
    paced = world(3, tasks=12)
    paced.grow()
    for name, trees in [("quick", 3), ("slow", 1)]:
        paced.lease(name, trees)
    for name in ("quick", "slow"):
        paced.ack(name, list(paced.held[name]))
    paced.grow()
    assert len(paced.started) == 4
    paced.batch("slow", 2)
    paced.grow()
    assert len(paced.started) == 6


def test_a_group_that_comes_late_is_waited_for_from_the_first_tree_on() -> None:
    paced = world(2, tasks=12)
    for _ in range(4):
        paced.batch("early", 2)
    paced.grow()
    started = len(paced.started)
    paced.lease("late", 1)
    paced.batch("early", 2)
    paced.grow()
    assert len(paced.started) == started
    while len(paced.started) == started:
        assert len(paced.acknowledged("late")) < len(paced.feed)
        paced.batch("late", 1)
    assert paced.places() <= set(paced.started[-2:])


def test_a_group_that_went_back_is_waited_for() -> None:
    paced = world(2, tasks=8)
    for _ in range(2):
        paced.batch("g", 2)
    paced.grow()
    paced._feed(GroupHeard("run", "g", 0, ()))  # it begins again
    paced.grow()
    run = paced.state.runs["run"]
    assert run.pace is not None
    assert run.pace.taken == len(paced.started) == 6
    paced._feed(GroupHeard("run", "g", 5, (2,)))
    paced.grow()
    assert len(paced.started) == 6


def test_nobody_waits_for_a_group_that_was_not_heard_for_long_unless_it_is_the_only_one() -> None:
    paced = world(2, idle_s=50_000.0, tasks=12)
    paced.batch("gone", 2)
    paced.batch("here", 2)
    paced.grow()
    paced.batch("here", 2)
    paced.grow()
    assert len(paced.started) == 4
    paced.now += 30_000.0
    paced.tell("here")
    paced.now += 30_000.0
    paced.gone = {"gone"}
    paced.go_on()  # the alarm
    paced.grow()
    assert len(paced.started) == 6
    paced.now += 100_000.0
    paced.go_on()
    paced.grow()
    assert len(paced.started) == 6
    paced.gone = set()
    paced.lease("gone", 1)  # it is back
    paced.batch("here", 2)
    paced.grow()
    assert len(paced.started) == 6


def test_tasks_that_fail_hold_no_place() -> None:
    paced = world(1, tasks=6, budget=Budget(tree_tokens=1))
    paced.grow()
    assert len(paced.feed) == 6
    assert all(live.status is TreeStatus.FAILED for live in paced.finished.values())


def test_trees_that_somebody_asks_for_come_first_and_need_no_place() -> None:
    paced = world(2, tasks=12, slots=2, replicas=1)
    paced.grow()
    paced.ask(9, 7)
    paced.grow()
    assert paced.started == ["tree0", "tree1", "tree9", "tree7"]
    paced.ask(0)  # it has ended, and is had by name
    paced.grow()
    assert paced.started[4:] == ["tree2"]


def test_trees_that_were_withheld_hold_no_place() -> None:
    paced = world(2, tasks=6)
    paced.grow()
    paced.lease("g", 2)
    paced.asked.add(paced.feed[0])
    paced._feed(TreesWithheld("run", [paced.feed[0]]))
    paced.grow()
    assert len(paced.feed) == 3
    paced.ack("g", list(paced.held["g"]))
    paced.grow()
    assert len(paced.feed) == 4


def test_a_tree_that_is_asked_for_while_it_grows_gives_its_place_to_another() -> None:
    paced = world(1, tasks=3)
    assert paced.started == ["tree0"]
    paced.ask(0)
    assert paced.started == ["tree0", "tree1"]


def test_all_tasks_end_when_the_run_is_cancelled_far_ahead() -> None:
    from treeroll.core.model.events import RunCancelled

    paced = world(2, tasks=9)
    paced.ask(5)
    paced._feed(RunCancelled("run"))
    paced.grow()
    assert len(paced.feed) == 9
