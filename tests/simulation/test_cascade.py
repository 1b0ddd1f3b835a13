"""The cascade: segments that went badly are made by the larger model, as often as it may be called."""

from dataclasses import replace

import pytest

from treeroll.core.model.live_tree import LiveTree, TreeStatus
from treeroll.policies import registry
from treeroll.policies.resolve import build_policies
from treeroll.policy.base import Limits
from treeroll.simulation.world import World
from treeroll.tree.node import BranchReason, Node

LIMITS = Limits(leaves=6, segment_tokens=32, max_depth=6, max_tokens=192)


def grown(pools: dict[str, int] | None = None, **params: object) -> list[LiveTree]:
    shape = build_policies("flat", LIMITS, {"segment": {"name": "fixed", "hold": True}})
    policies = replace(shape, branch=registry.build("branch", "cascade", params, LIMITS))
    world = World(policies=policies, limits=LIMITS, replicas=2, slots=4, end_share=0.004, kill_share=0.01, pools=pools)
    return list(world.run().values())


def surprisal(node: Node) -> float:
    return -node.logprob_sum / node.n_tokens


@pytest.mark.parametrize("calls", [1, 5])
def test_segments_that_went_badly_are_made_by_the_large_model_as_often_as_it_may_be_called(calls: int) -> None:
    threshold, dropped, helped = 0.27, 0, 0
    for live in grown(surprisal=threshold, calls=calls):
        assert live.status is TreeStatus.COMPLETE
        assert len(live.tree.leaves) == LIMITS.leaves
        assert live.n_censored == sum(1 for node in live.tree.nodes[1:] if not is_continued(live, node))
        for leaf in live.tree.leaves:
            path = live.tree.lineage(leaf)
            large = [place for place, node in enumerate(path) if node.model]
            assert len(large) <= calls
            for place, node in enumerate(path[:-1]):
                small_and_bad = node.model is None and surprisal(node) > threshold
                assert not small_and_bad or len([at for at in large if at < place]) == calls
            helped += len(large)
        dropped += live.n_censored
    assert dropped > 10
    assert helped > 10


def is_continued(live: LiveTree, node: Node) -> bool:
    """Whether the branch that made it went on, or ended there."""
    if node.status != "inner":
        return True
    return any(other.parent == node.number and other.sibling_index == 0 for other in live.tree.nodes[1:])


def test_a_sure_model_is_left_alone() -> None:
    for live in grown(surprisal=10.0):
        assert {node.model for node in live.tree.nodes} == {None}
        assert {node.branch_reason for node in live.tree.nodes[1:]} == {BranchReason.INITIAL}
        assert not live.n_censored


def test_a_tree_of_the_large_model_itself_has_each_segment_grown_again_once_at_most() -> None:
    for live in grown({"large": 2}, surprisal=0.27):
        assert live.status is TreeStatus.COMPLETE
        assert {node.model for node in live.tree.nodes} == {None}
        again = [node for node in live.tree.nodes if node.branch_reason is BranchReason.FALLBACK]
        assert again
        assert len({(node.parent, node.sibling_index) for node in again}) == len(again)
        for leaf in live.tree.leaves:
            assert sum(node in again for node in live.tree.lineage(leaf)) <= 5
