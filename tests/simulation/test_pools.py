"""Two models in one service: nothing of one pool waits for the other, and branches never leave theirs."""

import pytest

from treeroll.core.model.events import ReplicaJoined, ReplicaLost
from treeroll.core.model.live_tree import LiveTree, TreeStatus
from treeroll.core.model.state import CoreSettings, State
from treeroll.core.step import step
from treeroll.errors import InvalidInput
from treeroll.policies import registry
from treeroll.policy.base import Limits
from treeroll.simulation.world import World, fingerprint


def grown_by(world: World, pool: str) -> list[tuple[object, ...]]:
    return [row for row in fingerprint(world) if str(row[0]).startswith(pool)]


def models_of(trees: dict[str, LiveTree]) -> set[tuple[str, str]]:
    """The pool that each tree was to grow in, and those of the replicas that made its nodes."""
    nodes = ((live, node) for live in trees.values() for node in live.tree.nodes[1:])
    return {(live.task.model, node.replica_id.rstrip("0123456789")) for live, node in nodes}


@pytest.mark.parametrize("placement", ["parent_affinity", "least_loaded", "round_robin"])
@pytest.mark.parametrize("kill_share", [0.0, 0.02])
def test_trees_grow_on_replicas_of_their_model_only_also_after_losses(placement: str, kill_share: float) -> None:
    world = World(seed=5, pools={"small": 3, "large": 2}, slots=3, tasks=8, placement=placement, kill_share=kill_share)
    trees = world.run()
    assert len(trees) == 16
    assert all(live.status is TreeStatus.COMPLETE for live in trees.values())
    assert models_of(trees) == {("small", "small"), ("large", "large")}
    regrants = sum(run.counters.regrants for run in world.state.runs.values())
    assert (regrants > 0) == (kill_share > 0)


def test_a_tree_is_the_same_whatever_else_the_service_serves() -> None:
    alone = World(seed=1, pools={"small": 1}, slots=64)
    alone.run()
    both = World(seed=2, pools={"large": 2, "small": 3}, slots=2, kill_share=0.02)
    both.run()
    assert grown_by(both, "small") == grown_by(alone, "small")


def test_models_sample_their_own_tokens_and_cut_at_the_same_places() -> None:
    world = World(seed=1, pools={"small": 1, "large": 1}, end_share=0.0, recipe="flat", leaves=2, tasks=1)
    trees = world.run()
    names = ("smalltree0", "largetree0")
    totals = [sorted(node.total for node in trees[name].tree.nodes) for name in names]
    assert totals[0] == totals[1]
    small, large = ({tuple(part.tokens) for part in world.stored[name].values()} for name in names)
    assert not small & large


def test_a_pool_without_replicas_holds_up_nobody_else() -> None:
    world = World(seed=1, pools={"large": 0, "small": 2}, tasks=6)
    assert set(world.run()) == {f"smalltree{n}" for n in range(6)}
    waiting = world.state.runs["run-large"]
    assert len(waiting.waiting) == 6
    assert waiting.growing == 0


class Forsaken(World):
    """Replicas that are lost do not come back."""

    def go_on(self) -> bool:
        self.dropped.clear()
        return super().go_on()


def test_trees_whose_pool_has_lost_its_replicas_take_no_place_of_others() -> None:
    world = Forsaken(seed=1, pools={"large": 1, "small": 1}, slots=2, tasks=12)
    world.later(ReplicaLost("large0", 1, "killed"), 3.0)
    trees = world.run()
    large = world.state.pools["large"]
    assert large.trees > 0
    assert large.free_slots.slots == 0
    assert {f"smalltree{n}" for n in range(12)} <= set(trees)


def test_a_replica_serves_a_pool_of_the_service_with_its_context_and_block_size() -> None:
    state = State(
        CoreSettings(registry.build("placement", "parent_affinity", {}, Limits(1, 1, 1, 1)), ("small", "large"))
    )
    step(state, ReplicaJoined("a", 1, 4, 16, 4096, model="small"), 0.0)
    step(state, ReplicaJoined("b", 1, 4, 32, 4096, model="large"), 0.0)
    with pytest.raises(InvalidInput, match="replica c is of pool 'huge', but the service serves 'small' and 'large'"):
        step(state, ReplicaJoined("c", 1, 4, 16, 4096, model="huge"), 0.0)
    with pytest.raises(InvalidInput, match="block size 32 and context 4096, replica a has 16 and 4096; they must"):
        step(state, ReplicaJoined("c", 1, 4, 32, 4096, model="small"), 0.0)
    with pytest.raises(InvalidInput, match="context 2048, replica a has 16 and 4096; they must be equal in context"):
        step(state, ReplicaJoined("c", 1, 4, 32, 2048, model="large"), 0.0)
    with pytest.raises(InvalidInput, match="replica b incarnation 1 was in pool 'large' before"):
        step(state, ReplicaJoined("b", 1, 4, 16, 4096, model="small"), 0.0)
    assert [pool.ready for pool in state.pools.values()] == [["a"], ["b"]]
