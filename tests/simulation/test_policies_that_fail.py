"""Whatever a policy raises, or says that cannot be, costs what it was asked about. Every call of every kind is tried.

What is tried is read from the protocols: a method that is added to one is tried from then on, and has to say here what
its failure costs. Every world audits all promises of the core after each step.
"""

import sys
from copy import copy
from dataclasses import dataclass, field, replace
from types import FunctionType
from typing import Any

import pytest

from treeroll import policy
from treeroll.core.guard import calls
from treeroll.core.guard.expansions import FORKS_PER_LEAF
from treeroll.core.model.events import AlarmRang, LeafScored
from treeroll.core.model.live_tree import LiveTree, TreeStatus
from treeroll.errors import PolicyFailed
from treeroll.policies import registry
from treeroll.policies.policies import Policies
from treeroll.policies.resolve import build_policies
from treeroll.policy import Expansion, Limits, Verdict
from treeroll.simulation.language import encode
from treeroll.simulation.world import World, fingerprint
from treeroll.tools.base import Tool
from treeroll.tree.node import NodeStatus, StopReason
from treeroll.tree.tree import Tree

TASKS = 6
LIMITS = Limits(leaves=4, segment_tokens=32, max_depth=4, max_tokens=128)
PROTOCOLS = [*(one for one in vars(policy).values() if getattr(one, "_is_protocol", False)), Tool]
METHODS = [
    (protocol.__name__, name)
    for protocol in PROTOCOLS
    for name, value in vars(protocol).items()
    if isinstance(value, FunctionType) and not name.startswith("_")
]
# What a method's failure costs: its tree, that tree's credit, or nothing but that it is counted.
COSTS = {
    **dict.fromkeys(["grow", "start", "on_node", "on_idle", "on_timeout", "boundaries", "remark", "judge"], "tree"),
    **dict.fromkeys(["answer", "open", "allocate", "route"], "tree"),
    "estimate": "credit",
    **dict.fromkeys(["learn", "home"], "nothing"),
}
KINDS = {
    "BranchPolicy": "branch policy", "Growth": "branch policy", "HasTimeout": "branch policy",
    "SegmentPolicy": "segment policy", "Tool": "tool", "PrunePolicy": "prune policy",
    "AdvantageEstimator": "advantage policy", "PlacementPolicy": "placement policy",
    "BudgetAllocator": "allocate policy", "Allocation": "allocate policy",
    "RoutePolicy": "route policy", "Routing": "route policy",
}  # fmt: skip
# Asked once, if all is well.
ONCE = {"boundaries", "open"}


@dataclass
class Spoiler:
    """Takes the place of one method. `how`: raises at its third call, always; or says what cannot be at the third."""

    method: str
    how: str
    count: int = 0
    unguarded: list[str] = field(default_factory=list)

    def spoil(self, target: Any) -> Any:
        kind = type(target)
        if not isinstance(getattr(kind, self.method, None), FunctionType):
            return target
        real, spoiler = getattr(kind, self.method), self

        def spoilt(self: Any, *args: Any) -> Any:
            spoiler.noted()
            spoils = spoiler.how == "always" or spoiler.count == (1 if spoiler.method in ONCE else 3)
            if spoils and spoiler.how != "nonsense":
                raise ZeroDivisionError("by\nnothing")
            said = real(self, *args)
            return object() if spoils else said

        changed = type(kind.__name__, (kind,), {self.method: spoilt, "__slots__": ()})
        object.__setattr__(target, "__class__", changed)
        return target

    def noted(self) -> None:
        self.count += 1
        frame: Any = sys._getframe()
        while frame is not None and frame.f_code.co_filename != calls.__file__:
            frame = frame.f_back
        if frame is None:
            self.unguarded.append(self.method)


class Made:
    """A policy that hands out what is asked later: it is spoilt, and so is what it makes."""

    def __init__(self, inner: Any, spoiler: Spoiler) -> None:
        self.inner, self.spoiler = inner, spoiler

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)

    def grow(self, tree: Tree) -> Any:
        return self.spoiler.spoil(self.inner.grow(tree))

    def open(self, seed: int) -> Any:
        return self.spoiler.spoil(self.inner.open(seed))


@dataclass
class TwoLeaves:
    """Allocator, and its own memory."""

    asked: str = "start"
    needs: tuple[str, ...] = ()
    least: int = 1
    most: int = 4
    success: float | None = 0.5
    name: str = "two_leaves"

    def open(self, seed: int) -> "TwoLeaves":
        return replace(self)

    def allocate(self, tasks: Any, budget: Any) -> list[int]:
        return [2] * len(tasks)

    def learn(self, task: Any, outcome: Any) -> None: ...


@dataclass
class InTurn:
    """Route, and its own memory."""

    models: tuple[str, ...] = ("small", "large")
    rated: str | None = None
    success: float | None = 0.5
    name: str = "in_turn"

    def open(self, seed: int) -> "InTurn":
        return replace(self)

    def route(self, task: Any, budget: Any, models: Any) -> str:
        return self.models[int(task.task_id[1:]) % 2]

    def learn(self, task: Any, outcome: Any, model: str) -> None: ...


def with_tool() -> Policies:
    policies = build_policies("flat", LIMITS, {"prune": {"boxed": "off"}})
    return replace(policies, segment=registry.build("segment", "agent_step", {}, LIMITS))


def world_of(protocol: str, **fields: Any) -> World:
    """A world in which a policy of the kind is asked everything that it ever is."""
    if protocol in ("SegmentPolicy", "Tool"):
        fields |= {"policies": with_tool(), "limits": LIMITS}
    elif protocol == "HasTimeout":
        overrides = {"branch": {"timeout_s": 0.3, "value": "steps"}}
        fields |= {"recipe": "rebase", "overrides": overrides, "slots": 64, "leaves": 8}
    elif protocol in ("RoutePolicy", "Routing"):
        fields |= {"pools": {"small": 1, "large": 1}}
    world = World(**{"seed": 2, "replicas": 2, "slots": 4, "leaves": 4, "tasks": TASKS, **fields})
    if protocol in ("BudgetAllocator", "Allocation"):
        world.spec = replace(
            world.spec,
            allocate=TwoLeaves(),  # type: ignore[arg-type]
            branch_for=lambda leaves: registry.build("branch", "flat", {}, replace(LIMITS, leaves=leaves)),
        )
    if protocol in ("RoutePolicy", "Routing"):
        world.route = InTurn()  # type: ignore[assignment]
    return world


def spoilt_world(protocol: str, method: str, how: str) -> tuple[World, Spoiler]:
    world, spoiler = world_of(protocol), Spoiler(method, how)
    spoil = spoiler.spoil
    spec, settings = world.spec, world.state.settings
    if protocol == "Tool":
        own = copy(spec.segment.tool)  # the registry has one for all
        object.__setattr__(spec.segment, "tool", spoil(own))
    elif protocol == "SegmentPolicy":
        spoil(spec.segment)
    elif protocol == "PrunePolicy":
        spoil(spec.prune)
    elif protocol == "AdvantageEstimator":
        spoil(spec.advantage)
    elif protocol == "PlacementPolicy":
        spoil(settings.placement)
    elif protocol == "BranchPolicy":
        spoil(spec.branch)
    elif protocol in ("Growth", "HasTimeout"):
        world.spec = replace(spec, branch=Made(spec.branch, spoiler))  # type: ignore[arg-type]
    elif protocol == "BudgetAllocator":
        spoil(spec.allocate)
    elif protocol == "Allocation":
        world.spec = replace(spec, allocate=Made(spec.allocate, spoiler))  # type: ignore[arg-type]
    elif protocol == "RoutePolicy":
        spoil(world.route)
    elif protocol == "Routing":
        world.route = Made(world.route, spoiler)  # type: ignore[assignment]
    if protocol == "Tool":
        object.__setattr__(settings, "observe", lambda tool, text, remark: encode(tool.answer(text) + remark))
    return world, spoiler


def others(world: World, without: set[str]) -> list[tuple[object, ...]]:
    return [row for row in fingerprint(world) if row[0] not in without]


def test_all_kinds_of_policies_are_tried() -> None:
    assert {protocol for protocol, _ in METHODS} == set(KINDS)
    assert {method for _, method in METHODS} == set(COSTS)


@pytest.mark.parametrize("how", ["once", "nonsense"])
@pytest.mark.parametrize(("protocol", "method"), METHODS, ids=map("-".join, METHODS))
def test_one_failure_costs_what_was_asked_about_and_nothing_else(protocol: str, method: str, how: str) -> None:
    world, spoiler = spoilt_world(protocol, method, how)
    assert len(world.run()) == TASKS
    assert spoiler.count >= (1 if method in ONCE else 3)
    assert spoiler.unguarded == []
    run = world.state.runs["run"]
    cost = COSTS[method]
    if how == "nonsense" and method == "learn":  # nobody listens
        assert run.counters.policy_errors == 0
        return
    assert run.counters.policy_errors >= 1
    assert run.policy_error.startswith(KINDS[protocol])
    if how == "once":
        assert "failed: ZeroDivisionError: by nothing (test_policies_that_fail.py, line " in run.policy_error
    lost = [live for live in world.finished.values() if live.status is not TreeStatus.COMPLETE]
    assert len(lost) == (cost != "nothing")
    for live in lost:
        assert run.policy_error in live.error
        assert live.status is TreeStatus.FILTERED if cost == "credit" else live.stop_reason == "lost"
    assert run.ledger.outstanding == 0
    if protocol != "HasTimeout":  # such trees depend on when their nodes come
        whole = world_of(protocol)
        if protocol == "Tool":
            whole, _ = spoilt_world(protocol, method, "never")
        whole.run()
        names = {live.tree_id for live in lost}
        assert others(world, names) == others(whole, names)


@pytest.mark.parametrize(("protocol", "method"), METHODS, ids=map("-".join, METHODS))
def test_one_that_always_fails_lets_every_task_end_with_the_reason(protocol: str, method: str) -> None:
    world, _ = spoilt_world(protocol, method, "always")
    assert len(world.run()) == TASKS
    run = world.state.runs["run"]
    if COSTS[method] == "nothing":
        assert {live.status for live in world.finished.values()} == {TreeStatus.COMPLETE}
        assert run.policy_error
        return
    ended = [live for live in world.finished.values() if live.status is not TreeStatus.COMPLETE]
    assert len(ended) == TASKS if method not in ("on_timeout", "remark", "answer") else ended
    assert all(KINDS[protocol] in live.error and "by nothing" in live.error for live in ended)


DECISIONS: dict[str, Any] = {
    "which is no list": 7,
    "failed: AttributeError": [7],
    "expands node 99, and there is none": [Expansion(99, 1)],
    "expands node -1, and there is none": [Expansion(-1, 1)],
    "asks for -1 forks": [Expansion(0, -1)],
    "asks for 0.5 forks": [Expansion(0, 0.5)],  # type: ignore[arg-type]
    f"asks for {FORKS_PER_LEAF * 5 + 1} forks": [Expansion(0, FORKS_PER_LEAF * 5 + 1)],
    "as reason": [Expansion(0, 1, "whim")],  # type: ignore[arg-type]
    "gives -1 as group": [Expansion(0, 1, group=-1)],
    "gives 4294967296 as group": [Expansion(0, 1, group=2**32)],
    "gives nan as temperature_scale": [Expansion(0, 1, temperature_scale=float("nan"))],
    "gives 0 as max_tokens": [Expansion(0, 1, max_tokens=0)],
    "inserts 7": [Expansion(0, 1, insert=7)],  # type: ignore[arg-type]
    "names model 'huge', which nobody serves": [Expansion(0, 1, model="huge")],
    "splits node 0 of 20 tokens after 3": [Expansion(0, 1, split_at=3)],
}


@pytest.mark.parametrize("after", [1, 4])
@pytest.mark.parametrize("flaw", DECISIONS)
def test_a_decision_that_cannot_be_carried_out_ends_its_tree_and_nothing_of_it_is_done(flaw: str, after: int) -> None:
    world = World(seed=2, replicas=2, slots=4, leaves=4, tasks=TASKS)
    grow = world.spec.branch.grow

    def spoilt(tree: Tree) -> Any:
        growth = grow(tree)
        seen = growth.on_node

        def on_node(tree: Tree, node: Any) -> Any:
            # What comes first could be carried out, and is not.
            bad = DECISIONS[flaw]
            said = [Expansion(0, 1), *bad] if isinstance(bad, list) else bad
            return said if node.number == after else seen(tree, node)

        if tree.tree_id == "tree3":
            growth.on_node = on_node
        return growth

    world.spec = replace(world.spec, branch=Replaced(world.spec.branch, grow=spoilt))  # type: ignore[arg-type]
    world.run()
    broken = world.finished["tree3"]
    assert flaw in broken.error
    assert broken.error.startswith("branch policy 'treepo' ")
    assert broken.tree.root.fanout == 2  # its first branches
    assert sum(live.status is TreeStatus.COMPLETE for live in world.finished.values()) == TASKS - 1


class Replaced:
    """An object of which some attributes are others."""

    def __init__(self, inner: Any, **attributes: Any) -> None:
        self.inner = inner
        vars(self).update(attributes)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)


def ended(**policies: Any) -> list[LiveTree]:
    world = World(seed=2, replicas=2, slots=4, leaves=4, tasks=2)
    world.spec = replace(world.spec, **policies)
    world.run()
    return list(world.finished.values())


@pytest.mark.parametrize(
    "verdict", [Verdict(NodeStatus.INNER, StopReason.EOS), Verdict(NodeStatus.LEAF, "enough"), None], ids=str
)
def test_a_verdict_that_is_none_ends_the_tree(verdict: Any) -> None:
    for live in ended(prune=Replaced(None, name="odd", needs=policy.Needs(), judge=lambda segment: verdict)):
        assert live.error.startswith("prune policy 'odd' ")
        assert live.status is TreeStatus.FAILED


@pytest.mark.parametrize("value", [float("nan"), float("inf"), "much"])
@pytest.mark.parametrize("too_many", [0, 1])
def test_credit_that_is_none_drops_the_tree_and_counts_as_a_failure(value: Any, too_many: int) -> None:
    def estimate(tree: Any) -> dict[int, tuple[Any, ...]]:
        given = 0.5 if too_many else value
        return {leaf: (given,) * (len(tree.paths[leaf]) + too_many) for leaf in tree.rewards}

    trees = ended(advantage=Replaced(None, name="odd", estimate=estimate))
    for live in trees:
        assert live.error.startswith("dropped by advantage: advantage policy 'odd' ")
        assert live.status is TreeStatus.FILTERED
        assert not any(credit.advantages for credit in live.credit)
    run = trees[0].run
    assert (run.failing, run.filtered["advantage"], run.counters.policy_errors) == (2, 2, 2)
    assert run.failure == trees[-1].error


@pytest.mark.parametrize("ends", [[30, 30], [30, 4000], [10], [30.5], 30])
def test_boundaries_that_cannot_be_end_the_tree_before_it_starts(ends: Any) -> None:
    segment = Replaced(None, name="odd", delimiter=None, tool=None, hold=False, boundaries=lambda *_: ends)
    for live in ended(segment=segment):
        assert live.error.startswith("segment policy 'odd' ")
        assert live.started == 0


def test_a_reward_that_is_no_number_is_none() -> None:
    world = World(seed=2, leaves=2, tasks=1)
    feed = world._feed

    def spoilt(event: Any) -> None:
        feed(replace(event, value=float("nan")) if isinstance(event, LeafScored) else event)

    world._feed = spoilt  # type: ignore[method-assign]
    world.run()
    assert world.finished["tree0"].tree.rewards.keys() == set(world.finished["tree0"].tree.leaves)
    assert not any(world.finished["tree0"].tree.rewards.values())
    assert world.state.runs["run"].counters.reward_errors == 2


def test_a_submission_that_its_allocator_fails_at_is_refused_and_leaves_nothing_behind() -> None:
    world, spoiler = world_of("Allocation"), Spoiler("allocate", "once", count=2)
    allocator = TwoLeaves(asked="submission")
    world.spec = replace(world.spec, allocate=Made(allocator, spoiler))  # type: ignore[arg-type]
    feed, refused = world._feed, []

    def patient(event: Any) -> None:
        try:
            feed(event)
        except PolicyFailed as error:
            refused.append(str(error))
            assert not world.state.runs["run"].tasks
            feed(AlarmRang())  # as in a tick: what was refused is followed by an assignment, which takes up its traces
            feed(event)

    world._feed = patient  # type: ignore[method-assign]
    assert len(world.run()) == TASKS
    [why] = refused
    assert why.startswith("allocate policy 'two_leaves' failed: ZeroDivisionError: by nothing")
    assert {live.status for live in world.finished.values()} == {TreeStatus.COMPLETE}
