"""What is stored of growing trees is enough: after every step of a world they are grown again, and are the same."""

from collections.abc import Callable
from dataclasses import fields, replace
from types import SimpleNamespace
from typing import Any

import pytest
from tests.support.combinations import BRANCHES, SEGMENTS, small_limits
from tests.support.stored_world import StoredWorld

from treeroll.coordinator.records import stored_run
from treeroll.core.model.branch import Branch, BranchState
from treeroll.core.model.budget import Budget
from treeroll.core.model.events import RunCancelled
from treeroll.core.model.live_tree import LiveTree, TreeStatus
from treeroll.core.model.run import StalenessBound
from treeroll.core.model.weights import OnUpdate
from treeroll.core.recovery.replay import replay
from treeroll.pb.v1 import rollout_pb2 as api
from treeroll.pb.v1 import store_pb2 as stored
from treeroll.policy import Expansion, Growth, Needs, Segment, Verdict
from treeroll.simulation.world import World
from treeroll.testing.observed import ObservedPolicy
from treeroll.tree.node import Node, NodeStatus, StopReason
from treeroll.tree.tree import Tree

# A replica has it or not; where it runs and waits; for whom it is reserved; what nobody needs after a crash.
OF_PLACE = {
    "grant", "origin", "home", "state", "reserved", "overrun", "claims", "wanted_at", "waited_s", "masked_by",
}  # fmt: skip
# The store says of a branch's text what its replica would say when it starts again.
TOLD_AGAIN = {"tail"}
OF_TREE = {
    "started", "active", "held", "judging", "status", "weight_version", "sampled_by", "stop_reason", "error", "ending",
    "n_censored", "faults", "charge", "recomputed", "promised", "planted_at", "lost_tokens_max", "abstained", "grown",
    "placed", "admitted", "first_grant", "home", "boundaries", "most_leaves", "timeout_s", "late_tokens",
    "dropped_tokens", "path_ends",
}  # fmt: skip
# Left out: the run and the books (below), what serves the tree, what is worked out of the rest or only once it ends,
# and timers and askers, which come again.
LEFT_OUT = {
    "run", "accounts", "ledger", "served", "credit", "dropped_by", "ended_at", "growth", "failure", "asked",
    "times_out_at", "timed", "tree", "task", "branches", "pruned_tokens", "censored_tokens",
}  # fmt: skip
AWAKE = (BranchState.PENDING, BranchState.RUNNING)


def test_every_field_of_a_tree_is_compared_or_left_out_for_a_reason() -> None:
    assert {field.name for field in fields(LiveTree)} == OF_TREE | LEFT_OUT
    assert set(Branch.__struct_fields__) >= OF_PLACE | TOLD_AGAIN


def of_branch(branch: Branch) -> dict[str, Any]:
    names = set(Branch.__struct_fields__) - OF_PLACE - TOLD_AGAIN
    state = "awake" if branch.state in AWAKE else branch.state
    return {**{name: getattr(branch, name) for name in names}, "state": state}


def of_tree(live: LiveTree) -> dict[str, Any]:
    tree = live.tree
    nodes = [
        (node.number, node.parent, node.sibling_index, node.depth, node.token_start, node.n_tokens, node.logprob_sum,
         node.path_logprob_sum, node.status, node.stop_reason, node.fanout, node.content, node.origin.attempt,
         node.origin.replica_id, node.origin.incarnation, node.branch_reason, node.decision, node.group,
         node.temperature, node.max_tokens, node.model)
        for node in tree.nodes
    ]  # fmt: skip
    return {
        **{name: getattr(live, name) for name in OF_TREE},
        "task": live.task, "seed": tree.seed, "nodes": nodes, "leaves": tree.leaves, "pruned": tree.pruned,
        "rewards": tree.rewards, "values": tree.values, "splits": tree.splits,
        "branches": {number: of_branch(branch) for number, branch in live.branches.items()},
        "spent": live.ledger.spent, "excess": live.ledger.excess,
        "waits": live.times_out_at is not None,
    }  # fmt: skip


def known(record: bytes) -> tuple[api.Run, stored.RunMemory]:
    """A run's record, but for what a grant alone changes: what is reserved is given back after a crash."""
    run = api.Run.FromString(record)
    memory = stored.RunMemory.FromString(run.memory)
    run.memory = b""
    run.ledger.granted = run.ledger.outstanding = run.ledger.returned = 0
    for cap in run.caps:
        cap.outstanding = 0
    memory.bucket_at = memory.bucket_level = 0
    return run, memory


class Compared(StoredWorld):
    """Grows every growing tree again after each step, and compares."""

    compared = 0

    def _audit(self) -> None:
        super()._audit()
        for live in self.state.trees.values():
            remains = self.tree_remains(self.tasks_of[live.run.spec.run_id][live.tree_id])
            assert remains is not None
            again = replay(self.state.settings, live.run, remains).live
            assert of_tree(again) == of_tree(live)
            self.compared += 1
        for run in self.state.runs.values():
            assert known(self.records[run.spec.run_id]) == known(stored_run(run))


def compared(**choice: Any) -> Compared:
    """A world that has run to its end."""
    world = Compared(**choice)
    world.run()
    assert len(world.finished) == sum(map(len, world.tasks_of.values()))
    assert world.compared
    return world


# Every recipe as it is, and its other settings.
RECIPES = [
    pytest.param(recipe, branch or {}, id=f"{recipe}-{number}")
    for recipe, variants in BRANCHES.items()
    for number, branch in enumerate(variants)
]
SEGMENT = [{"name": name, **params} for name, variants in SEGMENTS.items() for params in variants]


@pytest.mark.parametrize(("recipe", "branch"), RECIPES)
def test_trees_of_every_recipe(recipe: str, branch: dict[str, object]) -> None:
    compared(
        seed=2, tasks=2, replicas=2, slots=3, kill_share=0.02, end_share=0.02, recipe=recipe,
        limits=None if branch else small_limits(recipe), leaves=8, max_depth=3, overrides={"branch": branch},
    )  # fmt: skip


@pytest.mark.parametrize("segment", SEGMENT, ids=str)
def test_trees_of_every_segment_policy(segment: dict[str, object]) -> None:
    compared(tasks=2, recipe="treepo", leaves=6, max_depth=4, kill_share=0.02, overrides={"segment": segment})


@pytest.mark.parametrize(
    "budget",
    [
        Budget(tokens=2500),
        Budget(leaves=11),
        Budget(expansions=5),
        Budget(tree_tokens=700),
        Budget(task_tokens=900),
        Budget(tokens_per_second=400, burst_tokens=800),
        Budget(seconds=6.0),
    ],
    ids=str,
)
def test_trees_that_a_budget_cuts(budget: Budget) -> None:
    compared(tasks=4, epochs=2, leaves=6, max_depth=4, budget=budget, overruns=True, kill_share=0.01)


@pytest.mark.parametrize("rule", OnUpdate)
def test_trees_that_live_through_new_weights(rule: OnUpdate) -> None:
    world = Compared(tasks=4, leaves=6, max_depth=4, on_update=rule, staleness=StalenessBound(0))
    world.start()
    steps = 0
    while world.go_on():
        steps += 1
        if steps in (20, 60) and world.state.pools[""].weights.publication is None:
            world.publish(steps)
    assert len(world.finished) == 4
    assert world.compared


def test_trees_that_are_cancelled() -> None:
    world = Compared(tasks=6, leaves=6, max_depth=4)
    world.start()
    for _ in range(40):
        world.go_on()
    world._feed(RunCancelled("run"))
    while world.go_on():
        pass
    assert len(world.finished) == 6


def answers_early(world: World) -> SimpleNamespace:
    """Ends paths at segments that their engines would go on from."""
    judge = world.spec.prune.judge

    def early(segment: Segment) -> Verdict | None:
        ended = segment.depth >= 2 and len(segment.text) % 2 == 0
        return judge(segment) or (Verdict(NodeStatus.LEAF, StopReason.ANSWER) if ended else None)

    return SimpleNamespace(name="early", needs=Needs(), judge=early)


def with_every_path_ended(world: World) -> list[str]:
    """Trees of which only the last words of replicas are awaited."""
    return [
        tree_id
        for tree_id, live in world.state.trees.items()
        if live.branches and all(branch.state is BranchState.STOPPING for branch in live.branches.values())
    ]


@pytest.mark.parametrize("recipe", ["flat", "treepo", "tree_grpo", "ib_tpo"])
def test_a_tree_whose_paths_have_all_ended_is_cut_by_a_cancel_only_if_its_policy_would_go_on(recipe: str) -> None:
    def started(kind: type[World]) -> World:
        world = kind(tasks=4, recipe=recipe, limits=small_limits(recipe))
        world.spec = replace(world.spec, prune=answers_early(world))  # type: ignore[arg-type]
        world.start()
        return world

    undisturbed, ended = started(World), []
    while undisturbed.go_on():
        ended.append(with_every_path_ended(undisturbed))
    seen, moments = set(), [number for number, trees in enumerate(ended, 1) if trees]
    for steps in {*moments[:4], *moments[-4:]}:
        world = started(Compared)
        for _ in range(steps):
            world.go_on()
        trees = with_every_path_ended(world)
        assert trees == ended[steps - 1]
        world._feed(RunCancelled("run"))
        while world.go_on():
            pass
        for live in map(world.finished.__getitem__, trees):
            complete = live.status is TreeStatus.COMPLETE
            assert complete == (len(live.tree.nodes) == len(undisturbed.finished[live.tree_id].tree.nodes))
            assert complete == (live.n_censored == 0) == (live.stop_reason == "") == (live.error == "")
            seen.add(live.status)
    assert TreeStatus.COMPLETE in seen


def test_trees_of_two_models() -> None:
    compared(pools={"small": 2, "large": 1}, tasks=2, leaves=6, max_depth=4, kill_share=0.02)


class Odd(Growth):
    """Grows as the other one does, and raises at what `wrong` finds. Replay finds the same."""

    def __init__(self, inner: Any, wrong: Callable[[str, Tree], bool]) -> None:
        self.inner, self.wrong = inner, wrong

    def start(self, tree: Tree) -> list[Expansion]:
        return self._asked("start", tree)

    def on_node(self, tree: Tree, node: Node) -> list[Expansion]:
        return self._asked("on_node", tree, node)

    def on_idle(self, tree: Tree) -> list[Expansion]:
        return self._asked("on_idle", tree)

    def _asked(self, method: str, tree: Tree, *more: Node) -> list[Expansion]:
        if self.wrong(method, tree):
            raise ZeroDivisionError(method)
        said: list[Expansion] = getattr(self.inner, method)(tree, *more)
        return said


class OddPolicy(ObservedPolicy):
    """See Odd."""

    __slots__ = ("wrong",)

    def grow(self, tree: Tree) -> Odd:
        return Odd(self.policy.grow(tree), self.wrong)


WRONG: dict[str, Callable[[str, Tree], bool]] = {
    "start": lambda method, tree: method == "start" and tree.seed % 2 == 0,
    "on_node": lambda method, tree: method == "on_node" and len(tree.nodes) > 4 + tree.seed % 4,
    "on_idle": lambda method, tree: method == "on_idle" and tree.seed % 3 == 0,
}


@pytest.mark.parametrize("method", WRONG)
def test_trees_that_a_branch_policy_fails(method: str) -> None:
    world = Compared(tasks=6, leaves=6, max_depth=4, kill_share=0.02)
    policy = OddPolicy(world.spec.branch)
    object.__setattr__(policy, "wrong", WRONG[method])
    world.spec = replace(world.spec, branch=policy)  # type: ignore[arg-type]
    world.run()
    assert len(world.finished) == 6
    assert any(method in live.error for live in world.finished.values())


def test_trees_that_a_prune_policy_fails() -> None:
    world = Compared(tasks=6, leaves=6, max_depth=4, kill_share=0.02)
    judge = world.spec.prune.judge

    def fail(segment: Segment) -> Verdict | None:
        if segment.depth >= 2 and len(segment.text) % 5 == 0:
            raise ZeroDivisionError("judge")
        return judge(segment)

    world.spec = replace(world.spec, prune=SimpleNamespace(name="odd", needs=Needs(), judge=fail))  # type: ignore[arg-type]
    world.run()
    assert len(world.finished) == 6
    assert any("judge" in live.error for live in world.finished.values())
