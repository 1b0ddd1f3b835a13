"""Trees with a fixed number of children per depth: SPO and TreeRPO."""

import pytest
from tests.support.grow import Driver, discarded, endless, leaf, newest_first, ragged

from treeroll.errors import InvalidInput
from treeroll.policies import registry
from treeroll.policy.base import Limits


def build(kind, leaves=600, depth=3, **params):
    return registry.build("branch", kind, params, Limits(leaves, 10, depth, 1000))


def grow(kind, world, leaves=600, depth=3, hold=False, **params):
    return Driver(build(kind, leaves, depth, **params), world, pick=newest_first(), hold=hold).run()


def widths(grown, depth):
    return [grown.width_at(k) for k in range(1, depth + 1)]


@pytest.mark.parametrize("hold", [False, True])
@pytest.mark.parametrize(
    ("fanouts", "expected"),
    [([6, 6, 6], [6, 36, 216]), ([4, 5, 6], [4, 20, 120]), ([6, 5, 4], [6, 30, 120]), ([8, 8, 8], [8, 64, 512])],
)
def test_the_published_shapes_of_spo(fanouts, expected, hold):
    grown = grow("spo", endless(3), fanouts=fanouts, hold=hold)
    assert widths(grown, 3) == expected
    assert build("spo", fanouts=fanouts).max_leaves == expected[-1]
    assert grown.idles == 1


def test_a_list_shorter_than_the_paths_lets_them_run_on():
    assert widths(grow("spo", endless(5), depth=5, fanouts=[3, 2]), 5) == [3, 6, 6, 6, 6]


def test_a_child_that_ends_early_is_a_leaf_and_nobody_takes_its_place():
    def world(path):
        return leaf() if path == (1,) else discarded() if path == (2, 0) else endless(3)(path)

    grown = grow("spo", world, fanouts=[3, 2, 2])
    assert grown.leaves() == ["0.0.0", "0.0.1", "0.1.0", "0.1.1", "1", "2.1.0", "2.1.1"]


@pytest.mark.parametrize(("arity", "depth", "expected"), [(8, 3, [8, 64, 512]), (2, 4, [2, 4, 8, 16]), (1, 2, [1, 1])])
def test_treerpo_expands_every_node(arity, depth, expected):
    grown = grow("treerpo", endless(depth), depth=depth, arity=arity)
    assert widths(grown, depth) == expected
    assert build("treerpo", depth=depth, arity=arity).max_leaves == expected[-1]


def scales(kind, **params):
    """What each depth multiplies the temperature of its forks by."""
    grown = grow(kind, endless(3), **params)
    return {
        (grown.tree.nodes[expansion.node].depth, expansion.temperature_scale)
        for batch in grown.batches
        for expansion in batch
        if expansion.forks
    }


@pytest.mark.parametrize(("kind", "shape"), [("spo", {"fanouts": [2, 2, 2]}), ("treerpo", {"arity": 2})])
def test_forks_are_the_hotter_the_deeper_they_start_if_asked(kind, shape):
    assert scales(kind, **shape) == {(0, 1.0), (1, 1.0), (2, 1.0)}
    assert scales(kind, **shape, temperature_step=0.25) == {(0, 1.0), (1, 1.25), (2, 1.5)}


def test_all_forks_are_boundary_decisions():
    grown = grow("spo", ragged(3, 3, 0.3, 0.1), fanouts=[3, 3, 3])
    assert {node.decision for node in grown.tree.nodes[1:]} == {"boundary"}


@pytest.mark.parametrize(
    ("kind", "leaves", "depth", "params", "named"),
    [
        ("spo", 215, 3, {}, ["fanouts 6,6,6 can make 216 leaves", "leaves 215"]),
        ("spo", 600, 2, {}, ["fanouts has 3 entries", "max_depth 2"]),
        ("spo", 600, 3, {"fanouts": []}, ["fanouts"]),
        ("spo", 600, 3, {"fanouts": [2, 0]}, ["fanouts.1 is 0"]),
        ("spo", 600, 64, {"fanouts": [1024] * 64}, ["more than 1000000000 leaves"]),
        (
            "spo",
            600,
            3,
            {"fanouts": [6, 1], "temperature_step": 0.5},
            ["temperature_step 0.5 and fanouts 6,1 cannot work together", "nothing forks below the prompt"],
        ),
        (
            "spo",
            600,
            11,
            {"fanouts": [1] * 10 + [2], "temperature_step": 1},
            ["temperature_step 1 multiplies the temperature by 11 at depth 10", "the most is 10"],
        ),
        ("treerpo", 600, 3, {"temperature_step": 1.5}, ["temperature_step is 1.5"]),
        ("treerpo", 511, 3, {}, ["arity 8 at each of max_depth 3 can make 512 leaves", "leaves 511"]),
        ("treerpo", 16, 1000, {"arity": 1024}, ["max_depth 1000", "more than 1000000000 leaves", "leaves 16"]),
    ],
)
def test_shapes_that_cannot_be_name_both_settings(kind, leaves, depth, params, named):
    with pytest.raises(InvalidInput) as caught:
        build(kind, leaves, depth, **params)
    assert all(part in str(caught.value) for part in named)
