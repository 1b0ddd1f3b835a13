"""Every registered policy keeps every promise, with its defaults and with the settings that change its rule most."""

import pytest

from treeroll.policies import registry
from treeroll.policies.base import Limits
from treeroll.testing import CHECKS, LIMITS

WIDE = Limits(leaves=64, segment_tokens=32, max_depth=3, max_tokens=96)
SETTINGS = {
    ("segment", "fixed"): [({}, LIMITS), ({"aligned": False, "hold": True}, LIMITS)],
    ("segment", "per_depth"): [
        ({}, LIMITS),
        ({"tokens": [5, 40]}, LIMITS),
        ({"tokens": [1, 2, 3, 4], "last_free": False}, LIMITS),
    ],
    ("segment", "delimiter"): [({}, LIMITS), ({"texts": [], "token_ids": [3], "hold": True}, LIMITS)],
    ("branch", "treepo"): [
        ({}, LIMITS),
        ({"sync": "path", "divergence": "by_random_div"}, LIMITS),
        ({"split": "node_logprob_weighted", "tau": 0.5, "fallback": "block", "initial": "random"}, LIMITS),
        ({"total_budget": "by_response_token", "token_cap": 500, "fallback": "min_logprob"}, LIMITS),
        ({"fallback": "none"}, LIMITS),
    ],
    ("branch", "spo"): [
        ({"fanouts": [4, 1, 3]}, LIMITS),
        ({"fanouts": [4, 4, 4]}, WIDE),
        ({"fanouts": [3, 2, 2], "temperature_step": 0.25}, LIMITS),
    ],
    ("branch", "treerpo"): [({"arity": 2}, LIMITS), ({"arity": 2, "temperature_step": 1}, LIMITS)],
    ("branch", "tree_grpo"): [({}, LIMITS), ({"chains": 3, "picks": 2, "rounds": 2}, LIMITS)],
    ("branch", "ib_tpo"): [({}, LIMITS), ({"initial": 2, "rounds": 4, "nodes": 2, "forks": 2}, LIMITS)],
    ("branch", "treerl"): [
        ({"chains": 2, "places": 2, "rounds": 2, "forks": 1}, LIMITS),
        ({"chains": 2, "places": 3, "stop_token_ids": [5, 6]}, LIMITS),
    ],
    ("branch", "deepsearch"): [({"width": 4, "terminals": 4}, LIMITS)],
}
CASES = [
    pytest.param(kind, policy, params, limits, id=f"{kind}-{policy.name}-{number}")
    for kind, policies in registry.POLICIES.items()
    for policy in policies
    for number, (params, limits) in enumerate(SETTINGS.get((kind, policy.name), [({}, LIMITS)]))
]


@pytest.mark.parametrize(("kind", "policy", "params", "limits"), CASES)
def test_every_registered_policy_keeps_its_promises(kind, policy, params, limits):
    CHECKS[kind](policy, params, limits)


def test_every_kind_has_a_check():
    assert CHECKS.keys() == registry.POLICIES.keys()


def test_settings_are_of_policies_that_exist():
    known = {(kind, policy.name) for kind, policies in registry.POLICIES.items() for policy in policies}
    assert SETTINGS.keys() <= known
