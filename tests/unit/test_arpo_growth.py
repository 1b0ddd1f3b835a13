"""ARPO: which paths branch, while there are slots."""

import math

import pytest
from tests.support.tokens import add_step, planted

from treeroll.errors import InvalidInput
from treeroll.policies import registry
from treeroll.policy.base import Limits
from treeroll.tree.node import BranchReason, Decision, NodeStatus
from treeroll.tree.rng import uniform

# Entropy of one unit, with a vocabulary of three.
UNIT = math.log(3)
BOUNDARY, RETROSPECTIVE = Decision.BOUNDARY, Decision.RETROSPECTIVE
ALWAYS, NEVER = {"base": 1.0, "weight": 0.0}, {"base": 0.0, "weight": 0.0}


def growth_of(tree, leaves=4, **params):
    limits = Limits(leaves, segment_tokens=8, max_depth=4, max_tokens=64)
    growth = registry.build("branch", "arpo", {"initial": 2, "vocabulary": 3, **params}, limits).grow(tree)
    assert forks(growth.start(tree)) == [(0, params.get("initial", 2))]
    return growth


def forks(expansions):
    return [(expansion.node, expansion.forks) for expansion in expansions]


def wave(tree, growth, *parents, entropy=1.0, status=NodeStatus.INNER, decision=BOUNDARY):
    """One more step behind each parent, where all wait; the prompt may be given more than once."""
    for place, parent in enumerate(parents):
        sibling = place if parent == 0 else 0
        step = add_step(tree, parent, [entropy * UNIT], "=", sibling=sibling, status=status, decision=decision)
        assert growth.on_node(tree, step) == []


def test_the_release_figures_are_the_defaults():
    params = registry.find("branch", "arpo").Params()
    assert (params.initial, params.beam, params.base, params.weight, params.window) == (8, 2, 0.5, 0.2, 20)


def test_every_path_waits_until_the_last_has_come_and_all_go_on():
    tree = planted()
    growth = growth_of(tree, **NEVER)
    wave(tree, growth, 0, 0)
    round_ = growth.on_idle(tree)
    assert forks(round_) == [(1, 0), (2, 0)]
    assert all(expansion.resume for expansion in round_)


def test_a_path_that_branches_becomes_beam_paths_and_slots_go_by_path():
    tree = planted()
    growth = growth_of(tree, leaves=6, beam=4, **ALWAYS)
    wave(tree, growth, 0, 0)
    round_ = growth.on_idle(tree)
    assert forks(round_) == [(1, 3), (2, 1)]
    assert {expansion.decision for expansion in round_} == {BOUNDARY}


def test_slots_go_by_path_whoever_comes_first():
    tree = planted()
    growth = growth_of(tree, leaves=3, **ALWAYS)
    for sibling in (1, 0):
        growth.on_node(tree, add_step(tree, 0, [1.0], "=", sibling=sibling))
    assert forks(growth.on_idle(tree)) == [(2, 1), (1, 0)]


@pytest.mark.parametrize(("change", "draw", "branches"), [(0.0, 0.45, True), (0.0, 0.55, False), (1.0, 0.65, True),
                                                          (1.0, 0.75, False), (-1.0, 0.25, True), (-1.0, 0.35, False),
                                                          (9.0, 0.99, True), (-9.0, 0.0, False)])  # fmt: skip
def test_a_step_with_more_entropy_than_the_first_is_likelier_to_branch(monkeypatch, change, draw, branches):
    tree = planted()
    growth = growth_of(tree, leaves=2, initial=1)
    monkeypatch.setattr("treeroll.tree.rng.uniform", lambda *key: 1.0)
    wave(tree, growth, 0, entropy=10.0)
    assert forks(growth.on_idle(tree)) == [(1, 0)]
    monkeypatch.setattr("treeroll.tree.rng.uniform", lambda *key: draw)
    wave(tree, growth, 1, entropy=10.0 + change)
    assert forks(growth.on_idle(tree)) == [(2, int(branches))]


def test_draws_are_of_the_seed_and_the_path():
    tree = planted()
    growth = growth_of(tree, leaves=32, initial=16)
    wave(tree, growth, *[0] * 16)
    drawn = [int(uniform(tree.seed, "arpo", place) < 0.5) for place in range(16)]
    assert [count for _, count in forks(growth.on_idle(tree))] == drawn
    assert 0 < sum(drawn) < 16


def test_once_no_slot_is_left_nobody_waits():
    tree = planted()
    growth = growth_of(tree, **ALWAYS)
    wave(tree, growth, 0, 0)
    assert forks(growth.on_idle(tree)) == [(1, 1), (2, 1)]
    assert forks(growth.on_node(tree, add_step(tree, 2, [1.0], "="))) == [(3, 0)]


def test_where_no_path_lives_one_rollout_at_a_time_begins_until_the_slots_are_taken():
    tree = planted()
    growth = growth_of(tree)
    wave(tree, growth, 0, 0, status=NodeStatus.LEAF)
    for _ in range(2):
        (fresh,) = growth.on_idle(tree)
        assert (fresh.node, fresh.forks, fresh.reason, fresh.decision) == (0, 1, BranchReason.FALLBACK, RETROSPECTIVE)
        wave(tree, growth, 0, status=NodeStatus.LEAF, decision=RETROSPECTIVE)
    assert growth.on_idle(tree) == []


def test_what_branches_from_a_later_rollout_is_retrospective_too():
    tree = planted()
    growth = growth_of(tree, **ALWAYS)
    wave(tree, growth, 0, 0, status=NodeStatus.LEAF)
    growth.on_idle(tree)
    wave(tree, growth, 0, decision=RETROSPECTIVE)
    (round_,) = growth.on_idle(tree)
    assert (round_.node, round_.forks, round_.decision) == (3, 1, RETROSPECTIVE)


def test_a_discarded_path_keeps_its_slot():
    tree = planted()
    growth = growth_of(tree, leaves=3)
    wave(tree, growth, 0, 0, status=NodeStatus.PRUNED)
    assert forks(growth.on_idle(tree)) == [(0, 1)]
    wave(tree, growth, 0, status=NodeStatus.PRUNED)
    assert growth.on_idle(tree) == []


def test_more_first_rollouts_than_slots_are_refused():
    with pytest.raises(InvalidInput, match="initial 8 can make 8 leaves, above leaves 4"):
        registry.build("branch", "arpo", {}, Limits(4, 8, 4, 64))
