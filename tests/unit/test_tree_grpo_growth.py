"""Tree-GRPO grown on scripted worlds."""

from collections import Counter

import pytest
from tests.support.grow import Driver, endless, leaf, newest_first, ragged

from treeroll.errors import InvalidInput
from treeroll.policies import registry
from treeroll.policy.base import Limits
from treeroll.tree.node import Decision

DEPTH = 4


def build(leaves=64, **params):
    return registry.build("branch", "tree_grpo", params, Limits(leaves, 10, DEPTH, 1000))


def grow(world=None, seed=7, hold=False, **params):
    return Driver(build(**params), world or endless(DEPTH), pick=newest_first(), hold=hold, seed=seed).run()


@pytest.mark.parametrize("hold", [False, True])
@pytest.mark.parametrize(
    ("params", "leaves", "rounds"),
    [
        ({}, 6, 1),
        ({"chains": 3, "picks": 2, "rounds": 3}, 21, 3),
        ({"chains": 5, "rounds": 0}, 5, 0),
    ],
)
def test_leaves_are_chains_times_one_plus_picks_times_rounds(params, leaves, rounds, hold):
    grown = grow(hold=hold, **params)
    assert len(grown.tree.leaves) == leaves == build(**params).max_leaves
    assert grown.idles == rounds + 1


def test_first_chains_are_boundary_decisions_and_drawn_ones_are_not():
    grown = grow(chains=2, picks=3, rounds=2)
    first = [node for node in grown.tree.nodes[1:] if node.decision is Decision.BOUNDARY]
    assert sorted(grown.tree.path(node.number) for node in first) == sorted(
        (chain, *(0,) * depth) for chain in (0, 1) for depth in range(DEPTH)
    )


def drawn(seed):
    """The node that the only draw of a tree fell on."""
    grown = grow(seed=seed, chains=1, picks=1)
    later = next(node for node in grown.tree.nodes[1:] if node.decision is Decision.RETROSPECTIVE)
    return later.parent


def test_a_round_draws_uniformly_from_the_prompt_and_the_inner_nodes_of_a_tree():
    counts = Counter(drawn(seed) for seed in range(1000))
    assert set(counts) == {0, 1, 2, 3}  # the leaf, node 4, is never drawn
    assert all(count == pytest.approx(250, abs=50) for count in counts.values())


def test_every_tree_gets_its_own_draws():
    def world(path):
        return leaf() if path == (1,) else endless(DEPTH)(path)

    # The second chain is a leaf at once, so all its draws fall on the prompt; a later round may use what they grew.
    grown = grow(world, chains=2, picks=3, rounds=1)
    below_first = [name for name in grown.leaves() if name.startswith("0")]
    from_prompt = grown.width_at(1) - 2
    assert from_prompt + len(below_first) - 1 == 6
    assert from_prompt >= 3


def test_a_chain_from_the_prompt_belongs_to_the_tree_it_was_drawn_for():
    def world(path):
        return leaf() if path == (1,) else endless(DEPTH)(path)

    # Chain 1 has no inner node, so in round 1 its tree gets a chain from the prompt; in round 2 it may fork below it.
    forked = 0
    for seed in range(50):
        tree = grow(world, seed=seed, chains=2, picks=1, rounds=2).tree
        own = [node for node in tree.nodes if node.group == 2]
        assert len([node for node in own if node.number in tree.leaves]) == 3
        forked += any(node.depth > 1 and node.sibling_index for node in own)
    assert forked > 0


def test_every_tree_has_its_chain_and_its_draws_whatever_they_fell_on():
    for seed in range(20):
        grown = grow(ragged(seed, DEPTH, 0.3, 0.0), seed=seed, chains=3, picks=2, rounds=2)
        assert Counter(grown.tree.nodes[leaf].group for leaf in grown.tree.leaves) == {1: 5, 2: 5, 3: 5}
        assert any(grown.tree.nodes[node].group != grown.tree.path(node)[0] + 1 for node in grown.tree.leaves)


def test_a_chain_below_the_prompt_is_of_the_tree_of_its_node():
    tree = grow(chains=3, picks=2, rounds=2).tree
    deep = [node for node in tree.nodes if node.depth > 1]
    assert all(node.group == tree.nodes[node.parent].group for node in deep)


def test_draws_may_repeat():
    grown = grow(lambda path: leaf(), chains=1, picks=3)
    assert grown.leaves() == ["0", "1", "2", "3"]


def test_another_seed_draws_others():
    assert len({tuple(grow(ragged(1, DEPTH, 0.2, 0.0), seed=seed).leaves()) for seed in range(20)}) > 5


def test_more_chains_than_leaves_are_refused():
    with pytest.raises(InvalidInput) as caught:
        build(leaves=5)
    assert str(caught.value) == (
        "branch policy 'tree_grpo': chains 2, picks 2 and rounds 1 can make 6 leaves, above leaves 5; "
        "raise leaves, or set what fits: --set run.branch.picks=1 makes 4"
    )
