"""A coordinator dies anywhere, and another goes on from what is stored: the trees are those of a world without it."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from tests.support.combinations import BRANCHES, small_limits
from tests.support.stored_world import Crash, StoredWorld

from treeroll.core.model.branch import BranchState
from treeroll.core.model.budget import Budget
from treeroll.core.model.events import PathJudged, ReplicaJoined, RunCancelled
from treeroll.core.model.journal import Judged
from treeroll.core.model.pool_model import PoolModel
from treeroll.core.recovery.rebuild import Rebuilt
from treeroll.core.recovery.remains import NodeRemains
from treeroll.errors import InvalidInput
from treeroll.simulation.world import BLOCK, MODEL_LEN, fingerprint
from treeroll.tree.node import NodeStatus, StopReason


def run(world: StoredWorld) -> StoredWorld:
    """To the end, whatever dies: also those that go on from what others left."""
    begin = world.start
    while True:
        try:
            begin()
            while world.go_on():
                pass
        except Crash:
            begin = world.restart
        else:
            return world


def small(crash_at: int | None = None, **choice: Any) -> StoredWorld:
    """A world of about a hundred events, whose coordinator dies before this effect."""
    usual = {"seed": 4, "tasks": 2, "replicas": 2, "slots": 3, "leaves": 4, "max_depth": 3, "end_share": 0.02}
    world = StoredWorld(**{**usual, **choice})
    world.crash_at = crash_at
    return world


def spent(world: StoredWorld) -> int:
    (one,) = world.state.runs.values()
    return one.ledger.spent


def check(world: StoredWorld, undisturbed: StoredWorld) -> None:
    """The same trees, each ended once; the run's account is that of its trees, to the token."""
    assert world.crashes
    assert fingerprint(world) == fingerprint(undisturbed)
    assert sorted(world.fed) == sorted(undisturbed.fed)
    assert sum(live.ledger.spent for live in world.finished.values()) == spent(world)
    for live in world.finished.values():
        assert live.ledger.balanced()
        assert not live.ledger.outstanding


@pytest.mark.parametrize(
    "choice",
    [
        {"recipe": "treepo"},
        {"recipe": "treerl", "leaves": 30, "tasks": 1},
        {"recipe": "bavt", "overrides": {"branch": {"value": "judge"}}},
        {"recipe": "deepsearch", "leaves": 6, "overrides": {"branch": {"width": 2, "terminals": 3}}},
    ],
    ids=str,
)
def test_a_coordinator_may_die_at_every_effect(choice: dict[str, Any]) -> None:
    undisturbed = run(small(**choice))
    for at in range(undisturbed.effects):
        check(run(small(at, **choice)), undisturbed)


class Tempted(StoredWorld):
    """Whenever a coordinator has taken up what is stored, a replica of another model is the first that comes."""

    refused = 0

    def recover(self) -> Rebuilt:
        rebuilt = super().recover()
        comes = ReplicaJoined("odd", 1, self.slots, BLOCK, MODEL_LEN, serves=PoolModel("other", host="gpu-7"))
        known = self.state.pools[""].model
        if known is not None and not all(one.has_ended for one in self.state.runs.values()):
            with pytest.raises(InvalidInput, match="which run 'run' grows with"):
                self._feed(comes)
            assert self.state.pools[""].model == known
            assert not self.state.replicas
            self.refused += 1
        return rebuilt


def test_after_a_death_at_any_effect_another_model_is_refused_as_long_as_the_run_grows() -> None:
    choice: dict[str, Any] = {"seed": 4, "tasks": 2, "replicas": 1, "leaves": 2, "max_depth": 2, "end_share": 0.02}
    undisturbed, refused = run(StoredWorld(**choice)), 0
    for at in range(undisturbed.effects):
        world = Tempted(**choice)
        world.crash_at = at
        check(run(world), undisturbed)
        refused += world.refused
    # Before its first replica is durable a pool is of no model, and with the run's last tree nothing needs it.
    assert undisturbed.effects - refused < 8


class Mortal(StoredWorld):
    """Its coordinators die one after the other, and live twice as long each time."""

    lives = 10

    def _count(self) -> None:
        super()._count()
        if self.effects >= self.lives:
            self.lives += self.effects
            raise Crash


RECIPES = [
    pytest.param(recipe, branch or {}, id=f"{recipe}-{number}")
    for recipe, variants in BRANCHES.items()
    for number, branch in enumerate(variants)
    if not (branch or {}).get("timeout_s")  # what comes in time depends on time
]


@pytest.mark.parametrize(("recipe", "branch"), RECIPES)
def test_trees_of_every_recipe_outlive_their_coordinators(recipe: str, branch: dict[str, object]) -> None:
    choice: dict[str, Any] = {
        "seed": 5, "tasks": 3, "replicas": 2, "slots": 4, "end_share": 0.02, "recipe": recipe,
        "limits": None if branch else small_limits(recipe), "leaves": 8, "max_depth": 3,
        "overrides": {"branch": branch},
    }  # fmt: skip
    check(run(Mortal(**choice)), run(StoredWorld(**choice)))


@pytest.mark.parametrize(
    "budget", [Budget(tokens=3000), Budget(leaves=9), Budget(task_tokens=900), Budget(tree_tokens=500)], ids=str
)
def test_a_budget_is_kept_over_all_lives(budget: Budget) -> None:
    world = run(Mortal(seed=6, tasks=4, leaves=6, max_depth=4, budget=budget))
    assert world.crashes
    assert len(world.finished) == 4
    assert sum(live.ledger.spent for live in world.finished.values()) == spent(world)


def damage(world: StoredWorld, change: Callable[[NodeRemains], NodeRemains]) -> str:
    """Change what is stored of a node of a growing tree; the tree's id."""
    tree_id = next(iter(world.state.trees))
    history = world.histories[tree_id]
    at = next(place for place, what in enumerate(history) if isinstance(what, NodeRemains))
    node = history[at]
    assert isinstance(node, NodeRemains)
    history[at] = change(node)
    return tree_id


@pytest.mark.parametrize(
    "change",
    [
        lambda node: replace(node, depth=node.depth + 1),
        lambda node: replace(node, sibling_index=99),
        lambda node: replace(node, status=NodeStatus.PRUNED, stop_reason=StopReason.REPETITION),
        lambda node: replace(node, n_tokens=node.n_tokens + 1),
    ],
)
def test_a_tree_that_is_stored_otherwise_than_it_grows_is_named_and_grows_anew(
    change: Callable[[NodeRemains], NodeRemains],
) -> None:
    undisturbed = run(small())
    world = small()
    world.start()
    for _ in range(12):
        world.go_on()
    tree_id = damage(world, change)
    rebuilt = world.restart()
    assert list(rebuilt.damaged) == [tree_id]
    assert f"tree {tree_id} cannot be grown again: " in rebuilt.damaged[tree_id]
    world.restart()  # what it spent is not forgotten by those that come after, nor that it was damaged
    assert world.state.runs["run"].counters.damaged == 1
    while world.go_on():
        pass
    assert fingerprint(world) == fingerprint(undisturbed)
    assert sum(live.ledger.spent for live in world.finished.values()) == spent(world)


def test_what_a_damaged_tree_had_spent_stays_in_its_account_if_its_run_is_cancelled_before_it_grows_anew() -> None:
    world = small()
    world.start()
    for _ in range(12):
        world.go_on()
    tree_id = damage(world, lambda node: replace(node, depth=node.depth + 1))
    world.recover()  # no replica is there: it waits
    assert tree_id not in world.state.trees
    world._feed(RunCancelled("run"))
    while world.go_on():
        pass
    ended = world.finished[tree_id]
    assert ended.ledger.spent
    assert ended.ledger.balanced()
    assert sum(live.ledger.spent for live in world.finished.values()) == spent(world)


def test_a_judge_may_answer_for_a_tree_that_is_being_stopped_when_a_coordinator_dies() -> None:
    world = small(recipe="rebase", overrides={"branch": {"value": "judge"}}, tasks=1, slots=64)
    world.start()
    judged = None
    while judged is None:
        world.go_on()
        [live] = world.state.trees.values()
        asked = [node for node in live.held if node not in live.tree.values]
        judged = asked[0] if asked and any(b.state is BranchState.RUNNING for b in live.branches.values()) else None
    world._feed(RunCancelled("run"))
    world._feed(PathJudged(live.tree_id, judged, 0.5))
    assert world.histories[live.tree_id][-1] == Judged(judged, 0.5)
    rebuilt = world.restart()
    assert not rebuilt.damaged
    assert world.finished[live.tree_id].stop_reason == "cancelled"
