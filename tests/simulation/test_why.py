"""Nodes say why: the decision that began their branch, what ended their path, and how long a grant was waited for."""

from collections import Counter

import pytest
from tests.support.recorded_world import RecordedWorld

from treeroll.core.model.budget import Budget
from treeroll.pb.v1 import common_pb2 as pb
from treeroll.policies.registry import sentences
from treeroll.policy.base import Limits
from treeroll.records.why import why_of
from treeroll.why import sentence, terms_of

LIMITS = Limits(leaves=8, segment_tokens=32, max_depth=4, max_tokens=128)
SENTENCES = sentences()


def grown(recipe: str = "treepo", **settings: object) -> list[pb.Tree]:
    world = RecordedWorld(recipe=recipe, limits=LIMITS, end_share=0.02, **settings)  # type: ignore[arg-type]
    world.run()
    return [world.tree(tree_id) for tree_id in world.finished]


def begins_branch(node: pb.Node) -> bool:
    """Index 0 below a node is the branch that made it, but below the prompt it is a branch of its own."""
    return node.number > 0 and (node.sibling_index > 0 or node.parent == 0)


@pytest.mark.parametrize("recipe", ["treepo", "flat", "rebase"])
def test_the_first_node_of_each_branch_says_why_it_began_and_each_end_of_a_path_why_it_ended(recipe: str) -> None:
    seen = Counter[str]()
    for tree in grown(recipe, tasks=10):
        for node in tree.nodes:
            assert node.HasField("why") == begins_branch(node), node
            assert node.HasField("waited_s") == node.HasField("cached_tokens")
            if node.status in ("leaf", "pruned"):
                assert node.HasField("ended_by"), node
            for field in ("why", "ended_by"):
                if node.HasField(field):
                    why = why_of(getattr(node, field))
                    assert terms_of(SENTENCES[why.rule]), why
                    assert why.rule not in sentence(why, SENTENCES)
                    seen[why.rule] += 1
    assert seen["finish.eos"]
    if recipe == "treepo":
        assert {"treepo.step", "treepo.fallback", "start"} <= seen.keys()


def test_paths_that_a_policy_lets_end_say_by_which_share() -> None:
    ends = [
        (node, dict(why_of(node.ended_by).terms))
        for tree in grown("rebase", tasks=10, overrides={"branch": {"temperature": 0.01}})
        for node in tree.nodes
        if node.status == "open" and node.HasField("ended_by")
    ]
    assert ends
    assert all(node.ended_by.rule == "level.share" and terms["share"] == 0 for node, terms in ends)


def test_branches_that_a_budget_cuts_say_what_they_needed_and_what_was_left() -> None:
    (tree,) = grown(tasks=1, budget=Budget(tokens=300))
    assert tree.stop_reason == "budget"
    cut = [why_of(node.ended_by) for node in tree.nodes if node.ended_by.rule.startswith("budget.")]
    assert cut
    for why in cut:
        terms = dict(why.terms)
        assert why.rule == "budget.tokens"
        assert terms["need"] > terms["room"]
        assert f"{terms['need']:.0f} tokens may be needed" in sentence(why, SENTENCES)


def test_a_grant_says_how_long_its_branch_waited_and_for_which_account() -> None:
    trees = grown(tasks=6, slots=1, budget=Budget(tokens_per_second=20, burst_tokens=150))
    first = [node for tree in trees for node in tree.nodes if node.HasField("waited_s")]
    assert any(node.waited_s > 0 for node in first)
    assert {node.masked_by for node in first} == {"", "tokens_per_second"}
    assert all(node.waited_s > 0 for node in first if node.masked_by)
