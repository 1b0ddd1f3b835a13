"""A branch samples at the temperature that its expansion asked for, as long as it runs and whoever serves it."""

from typing import Any

import pytest
from msgspec import structs

from treeroll.coordinator import records
from treeroll.coordinator.start_messages import StartOrders
from treeroll.core.growth.credit import TreeShape, path_weights
from treeroll.core.model.effects import Effect, PersistNode, StartBranch
from treeroll.pb.v1 import common_pb2 as pb
from treeroll.policy.base import Limits
from treeroll.sampling import Sampling
from treeroll.simulation.world import World
from treeroll.store.memory import MemoryStore

LIMITS = Limits(leaves=12, segment_tokens=32, max_depth=5, max_tokens=160)
STEP = 0.5


class Recorded(World):
    """Keeps the orders to start branches, by grant, and the temperatures in the records of nodes."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.starts: dict[int, StartBranch] = {}
        self.written: dict[tuple[str, int], float | None] = {}

    def _perform(self, effect: Effect) -> None:
        super()._perform(effect)
        if isinstance(effect, StartBranch):
            self.starts[effect.grant] = effect
        elif isinstance(effect, PersistNode):
            effect = structs.replace(effect, report=structs.replace(effect.report, payload=b""))
            record = pb.Node.FromString(records.node_record(effect))
            temperature = record.temperature if record.HasField("temperature") else None
            self.written[effect.live.tree_id, effect.node.number] = temperature


def grown(**settings: Any) -> Recorded:
    overrides = {"branch": {"fanouts": [2, 3, 2], "temperature_step": STEP}, "segment": settings.pop("segment", {})}
    world = Recorded(recipe="spo", limits=LIMITS, overrides=overrides, **settings)
    world.run()
    return world


def wanted(path: tuple[int, ...]) -> float | None:
    """By the rule: a node's branch is the fork where its path last left the branch that ran on."""
    forked_at = max((depth for depth, index in enumerate(path) if index), default=0)
    return 1 + STEP * forked_at if forked_at else None


@pytest.mark.parametrize(
    "settings",
    [{}, {"kill_share": 0.1, "replicas": 3}, {"segment": {"hold": True}, "kill_share": 0.05}],
    ids=["stream", "losses", "hold"],
)
def test_all_nodes_and_grants_of_a_branch_have_its_temperature(settings: dict[str, Any]) -> None:
    world = grown(**settings)
    seen = set()
    for name, live in world.finished.items():
        for node in live.tree.nodes[1:]:
            assert node.temperature == wanted(live.tree.path(node.number))
            assert world.starts[node.grant].temperature == node.temperature
            assert world.written[name, node.number] == node.temperature
            seen.add(node.temperature)
    assert seen == {None, 1.5, 2.0}
    regrants = world.state.runs["run"].counters.regrants
    assert (regrants > 0) == ("kill_share" in settings)


async def test_orders_have_the_temperature_of_their_branch_and_all_else_of_the_run() -> None:
    starts = [start for start in grown().starts.values() if not start.stored]
    orders = await StartOrders(MemoryStore(), {"": [1]}).make(starts)
    temperatures = [start.temperature or Sampling().temperature for start in starts]
    assert [order.sampling.temperature for order in orders] == temperatures
    assert set(temperatures) == {1.0, 1.5, 2.0}
    assert {(order.sampling.top_p, *order.sampling.stop_token_ids) for order in orders} == {(1.0, 1)}


def test_only_paths_sampled_at_the_runs_temperature_weigh_something() -> None:
    # Nothing ends early: of every tree the two first branches run to the end.
    for live in grown(end_share=0.0).finished.values():
        weights = {live.tree.path(leaf): weight for leaf, weight in path_weights(TreeShape.of(live)).items()}
        assert len(weights) == 12
        assert {path: weight for path, weight in weights.items() if weight} == {(0,) * 5: 0.5, (1, *(0,) * 4): 0.5}
