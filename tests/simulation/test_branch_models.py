"""Branches of another model than their tree's: served in its pool, recorded, and no sample of the run's policy."""

from dataclasses import replace
from typing import Any

import pytest
from msgspec import structs
from tests.support.two_models import TwoModels, TwoModelsGrowth

from treeroll.coordinator import records
from treeroll.core.growth.credit import TreeShape, path_weights
from treeroll.core.model.effects import Effect, PersistNode, StartBranch
from treeroll.pb.v1 import common_pb2 as pb
from treeroll.policies.policies import Policies
from treeroll.policies.resolve import build_policies
from treeroll.policy.base import Expansion, Limits
from treeroll.policy.needs import Needs
from treeroll.simulation.world import World
from treeroll.testing import NotConformant, check_branch_policy
from treeroll.tree.tree import Tree

LIMITS = Limits(leaves=8, segment_tokens=32, max_depth=5, max_tokens=160)


class Recorded(World):
    """Keeps the orders to start branches, and the models in the records of nodes."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.starts: list[StartBranch] = []
        self.written: dict[tuple[str, int], str | None] = {}

    def _perform(self, effect: Effect) -> None:
        super()._perform(effect)
        if isinstance(effect, StartBranch):
            self.starts.append(effect)
        elif isinstance(effect, PersistNode):
            effect = structs.replace(effect, report=structs.replace(effect.report, payload=b""))
            record = pb.Node.FromString(records.node_record(effect))
            model = record.model if record.HasField("model") else None
            self.written[effect.live.tree_id, effect.node.number] = model


def policies(hold: bool = False, policy: Any = None) -> Policies:
    shape = build_policies("flat", LIMITS, {"segment": {"name": "fixed", "hold": hold}})
    return replace(shape, branch=policy or TwoModels(TwoModels.Params(), LIMITS))


def grown(hold: bool = False, **settings: Any) -> Recorded:
    world = Recorded(policies=policies(hold), limits=LIMITS, **settings)
    world.run()
    return world


@pytest.mark.parametrize(
    "settings",
    [{}, {"kill_share": 0.1, "replicas": 3}, {"hold": True, "kill_share": 0.05}, {"placement": "round_robin"}],
    ids=["stream", "losses", "hold", "round robin"],
)
def test_all_nodes_of_a_branch_are_of_its_model_and_say_so(settings: dict[str, Any]) -> None:
    world = grown(**settings)
    seen = set()
    for name, live in world.finished.items():
        for node in live.tree.nodes[1:]:
            path = live.tree.path(node.number)
            model = "large" if len(path) > 1 and path[1] else None
            assert node.model == model
            assert node.replica_id.startswith(model or "r")
            assert world.written[name, node.number] == model
            seen.add(model)
    assert seen == {None, "large"}
    regrants = world.state.runs["run"].counters.regrants
    assert (regrants > 0) == ("kill_share" in settings)


def test_a_fork_into_another_pool_brings_its_prefix_along() -> None:
    world = grown(slots=64)
    crossed = [start for start in world.starts if start.model == "large" and start.prefix_tokens > start.prompt_tokens]
    assert crossed
    assert any(start.stored for start in crossed)
    assert all(start.stored or start.prefix_grant for start in crossed)


def test_only_paths_of_the_trees_own_model_weigh_something() -> None:
    for live in grown(end_share=0.0).finished.values():
        weights = {live.tree.path(leaf): weight for leaf, weight in path_weights(TreeShape.of(live)).items()}
        assert len(weights) == 8
        assert {path: weight for path, weight in weights.items() if weight} == {(0,) * 5: 0.5, (1, *(0,) * 4): 0.5}


@pytest.mark.parametrize("limits", [LIMITS, Limits(leaves=16, segment_tokens=32, max_depth=4, max_tokens=128)])
def test_such_a_policy_conforms(limits: Limits) -> None:
    check_branch_policy(TwoModels, {}, limits)


class Undeclared(TwoModels):
    needs = Needs()


def test_a_model_that_is_not_declared_is_caught_and_without_a_check_refused_by_the_core() -> None:
    with pytest.raises(NotConformant, match=r"Needs: .* names model 'large', and does not have it in needs.models"):
        check_branch_policy(Undeclared)
    world = World(policies=policies(policy=Undeclared(TwoModels.Params(), LIMITS)), limits=LIMITS)
    for live in world.run().values():
        assert live.error == "branch policy 'two_models' names model 'large', which nobody serves"


class Planted(TwoModels):
    def grow(self, tree: Tree) -> TwoModelsGrowth:
        return PlantedGrowth(self)


class PlantedGrowth(TwoModelsGrowth):
    def start(self, tree: Tree) -> list[Expansion]:
        return [*super().start(tree), Expansion(0, 1, model="large")]


def test_what_a_new_tree_wants_of_a_pool_that_was_filled_before_starts_in_the_same_step() -> None:
    """The large pool comes first, has room, and has nothing to do before the tree is planted in the other."""
    world = Recorded(policies=policies(policy=Planted(TwoModels.Params(), LIMITS)), limits=LIMITS, slots=64)
    assert list(world.state.pools) == ["large", ""]
    world.go_on = lambda: False  # type: ignore[method-assign]
    world.run()
    assert {start.model for start in world.starts} == {"large", ""}
