"""`treeroll bench policies` times every branch policy at the same width."""

import gc

import pytest

from treeroll.bench.decisions import Clock, Lines
from treeroll.bench.policies import SHAPES, figures, grow, limits_of, measure
from treeroll.errors import InvalidInput
from treeroll.policies import registry
from treeroll.policy.base import Expansion

LIMITS = limits_of()
NAMES = [policy.name for policy in registry.POLICIES["branch"]]


@pytest.mark.parametrize("name", NAMES)
def test_every_branch_policy_has_a_shape_of_64_leaves(name: str) -> None:
    assert registry.build("branch", name, SHAPES.get(name, {}), LIMITS).max_leaves == 64


def test_shapes_are_of_policies_that_exist() -> None:
    assert SHAPES.keys() <= set(NAMES)


def test_every_call_of_a_policy_is_timed() -> None:
    calls = grow("flat", LIMITS, 2, 1, Clock(), together=True)
    # At each of two trees: a start, a call per node (64 paths of up to 6), and one when nothing runs.
    assert 2 * (1 + 64 + 1) < len(calls) <= 2 * (1 + 64 * 6 + 1)
    assert min(calls) > 0


class Loop:
    """Garbage that only a collection finds, and that runs lines when it does."""

    def __init__(self) -> None:
        self.me = self

    def __del__(self) -> None:
        for _ in range(100):
            pass


def test_lines_are_the_policys_own_and_not_those_of_garbage_that_is_collected_meanwhile() -> None:
    def decide() -> list[Expansion]:
        for _ in range(2 * gc.get_threshold()[0]):
            Loop()
        return []

    gc.collect()
    lines = Lines()
    lines.measure(decide)
    assert lines.calls[0] < 6 * 2 * gc.get_threshold()[0]
    assert gc.isenabled()


def test_figures_are_microseconds_per_call() -> None:
    found = figures([1000, 3000], [2000] * 99 + [102_000], [20, 60], [30, 70], trees=10)
    assert found == {
        "alone_us": 2, "crowd_us": 3, "growth": 1.5, "lines": 40, "lines_growth": 1.25,
        "p99_us": 102, "slowest_us": 102, "events": 10,
    }  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_no_policy_works_more_for_a_tree_because_others_grow_beside_it(name: str) -> None:
    alone, crowd = (grow(name, LIMITS, 4, 1, Lines(), together) for together in (False, True))
    assert len(alone) == len(crowd)
    # Nodes arrive in another order, so a search among siblings may end one earlier or later.
    assert sum(crowd) == pytest.approx(sum(alone), rel=0.01)


async def test_a_round_measures_both_crowds() -> None:
    result = await measure(["treerpo", "deepsearch"], LIMITS, trees=2, rounds=1, note=lambda _: None, warm_ups=0)
    assert len(result.table().rows) == 2
    for rounds in result.rounds.values():
        assert rounds[0]["events"] > 64
        assert 0 < rounds[0]["crowd_us"] <= rounds[0]["slowest_us"]


def test_trees_are_as_wide_and_segments_as_long_as_asked() -> None:
    wide = grow("dora", limits_of(leaves=100, segment_tokens=352), 1, 1, Clock(), together=True)
    # At most a seventh of paths end in a segment, so whole levels wait several times, and all paths in all of them.
    assert 1 + 6 * 100 * (6 / 7) ** 5 < len(wide) <= 1 + 6 * (100 + 1)


async def test_a_policy_that_grows_another_number_of_leaves_is_refused() -> None:
    with pytest.raises(InvalidInput, match="branch policy 'spo' grows 64 leaves here, not 100"):
        await measure(["dora", "spo"], limits_of(leaves=100), trees=1, rounds=1, note=lambda _: None)


async def test_unknown_policies_are_refused_before_anything_is_measured() -> None:
    with pytest.raises(InvalidInput, match="'best'"):
        await measure(["flat", "best"], LIMITS, trees=1, rounds=1, note=lambda _: None)
