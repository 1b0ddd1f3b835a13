"""Which replica's queue a branch joins."""

from treeroll.policies import registry
from treeroll.policy.base import Limits

REPLICAS = ["a", "b", "c"]


def homes(name, parent, replicas=REPLICAS, turns=4, **params):
    policy = registry.build("placement", name, params, Limits(1, 1, 1, 1))
    return [policy.home(parent, replicas, turn) for turn in range(turns)]


def test_parent_affinity_follows_the_prefix():
    assert set(homes("parent_affinity", "b")) == {"b"}


def test_parent_affinity_leaves_what_has_no_prefix_to_the_first_free_replica():
    assert set(homes("parent_affinity", "")) == {None}


def test_least_loaded_never_names_one():
    assert set(homes("least_loaded", "b")) == {None}


def test_round_robin_takes_turns():
    assert homes("round_robin", "b") == ["a", "b", "c", "a"]
    assert set(homes("round_robin", "b", replicas=[])) == {None}


def test_only_the_baseline_does_not_steal():
    def margin(name, **params):
        return registry.build("placement", name, params, Limits(1, 1, 1, 1)).steal_margin

    assert margin("parent_affinity") == 0.5
    assert margin("parent_affinity", steal_margin=None) is None
    assert margin("least_loaded") == 0.0
    assert margin("round_robin") is None
