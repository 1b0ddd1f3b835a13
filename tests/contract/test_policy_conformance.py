"""Every registered policy keeps every promise, with its defaults and with the settings that change its rule most."""

import pytest

from treeroll.policies import registry
from treeroll.policy.base import Limits
from treeroll.testing import CHECKS, LIMITS

WIDE = Limits(leaves=64, segment_tokens=32, max_depth=3, max_tokens=96)
# Entropies of the simulated worlds end at 1.2.
ECHO = {"min_depth": 3, "entropy": 1.0, "entropy_window": 4, "group_window": 4, "confidence": 0.9, "entropy_high": 1.2}
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
    ("branch", "ib_tpo"): [
        ({}, LIMITS),
        ({"initial": 2, "rounds": 4, "nodes": 2, "forks": 2, "settled_after": 2}, LIMITS),
    ],
    ("branch", "treerl"): [
        ({"chains": 2, "places": 2, "rounds": 2, "forks": 1}, LIMITS),
        ({"chains": 2, "places": 3, "stop_token_ids": [5, 6]}, LIMITS),
    ],
    ("branch", "echo"): [
        ({**ECHO, "answers": 4}, LIMITS),
        ({**ECHO, "answers": 2, "max_width": 8, "entropy": 0.4, "confidence": 1.0}, LIMITS),
    ],
    ("branch", "hbpo"): [
        ({"budgets": [8, 40, 100]}, LIMITS),
        ({"budgets": [20, 128], "announcement": "{budget}:", "capped": False}, LIMITS),
        ({"budgets": [1, 64], "announcement": ""}, LIMITS),
    ],
    ("advantage", "hbpo"): [({}, LIMITS), ({"max_length": 4096, "deviation": 0.0}, LIMITS)],
    ("prune", "confidence"): [
        ({}, LIMITS),
        ({"spike": None, "group_window": 64, "keep_as_leaf": False}, LIMITS),
        ({"min_confidence": None, "decline_confidence": None, "min_tokens": 40, "boxed": "off"}, LIMITS),
    ],
    ("branch", "arpo"): [({}, LIMITS), ({"initial": 2, "beam": 3, "weight": 2.0, "vocabulary": 52}, LIMITS)],
    ("branch", "aepo"): [
        ({"vocabulary": 52}, LIMITS),
        ({"beta": 0.1, "tau": 0.1, "forks": 3, "window": 2}, LIMITS),
    ],
    ("branch", "treeps_rag"): [({}, LIMITS), ({"fanout": 4, "similarity": 0.3}, WIDE)],
    ("branch", "deepsearch"): [
        ({"width": 4, "terminals": 4}, LIMITS),
        ({"width": 4, "terminals": 4, "settled_after": 2, "settled_at_most": 0.5}, LIMITS),
    ],
    ("branch", "hyper"): [({}, LIMITS), ({"warm_up": 4, "keep": 3, "pool": 6}, LIMITS)],
    ("branch", "tree_planner"): [({}, LIMITS), ({"samples": 12, "places": 2, "forks": 1}, LIMITS)],
    ("branch", "rebase"): [
        ({}, LIMITS),
        ({"temperature": 0.02, "value": "success"}, WIDE),
        ({"value": "steps"}, LIMITS),
        ({"value": "judge", "gate": 0.4}, LIMITS),
        ({"rounding": "source", "temperature": 1.0}, LIMITS),
    ],
    ("branch", "dora"): [({}, LIMITS), ({"similarity_temperature": 0.3, "value": "success"}, WIDE)],
    ("branch", "ets"): [
        ({}, LIMITS),
        ({"coverage": 0, "cost": "tokens", "value": "success"}, WIDE),
        ({"distance": 0.6, "cost": "tokens", "value": "steps"}, LIMITS),
        ({"rounding": "source", "temperature": 1.0}, LIMITS),
    ],
    ("branch", "bavt"): [
        ({}, LIMITS),
        ({"value": "success", "parallel": 2, "width": 4, "tokens": 300}, LIMITS),
        ({"prune_below": -0.05, "widen_below": 0.05, "parallel": 2}, LIMITS),
        ({"value": "judge", "prune_below": 0, "widen_below": 0.1, "tokens": 300}, LIMITS),
    ],
    ("branch", "uct"): [
        ({}, LIMITS),
        ({"value": "success", "parallel": 3, "width": 3, "tokens": 90}, LIMITS),
        ({"value": "judge"}, LIMITS),
    ],
    ("branch", "cost_band"): [
        ({"value": "path_confidence"}, LIMITS),
        ({"value": "success", "band": 0.5, "width": 3}, LIMITS),
    ],
    ("branch", "depth_first"): [
        ({}, LIMITS),
        ({"parallel": 1, "width": 4, "tokens": 1}, LIMITS),
        ({"revive": 0.3}, LIMITS),
        ({"gate": 0.7}, LIMITS),
    ],
    ("branch", "pets"): [
        ({}, LIMITS),
        ({"answer": "text", "initial": 2, "batch": 3, "gain": 0.1}, LIMITS),
        ({"answer": "text", "initial": 1, "gain": 0}, WIDE),
    ],
    ("branch", "pets_online"): [({}, LIMITS), ({"answer": "text", "budgets": [4, 5, 6, 7, 16]}, LIMITS)],
    ("branch", "cascade"): [({}, LIMITS), ({"surprisal": 0.27}, WIDE), ({"surprisal": 0.0, "calls": 1}, LIMITS)],
    ("branch", "rest_mcts"): [
        ({"iterations": 7}, LIMITS),
        (
            {"width": 2, "iterations": 15, "roll_forward": 4, "value": "success", "successes": 16, "settled_after": 3},
            LIMITS,
        ),
        ({"width": 4, "iterations": 5, "roll_forward": 0, "successes": 16}, LIMITS),
    ],
    ("branch", "mars2"): [
        ({}, LIMITS),
        ({"parallel": 4}, WIDE),
        ({"models": ["", "large"], "parallel": 2}, LIMITS),
        ({"models": ["small", "large"]}, LIMITS),
    ],
    ("allocate", "mixed"): [({}, LIMITS), ({"least": 1, "most": 16, "prior": 0.5}, LIMITS)],
    ("allocate", "neyman"): [({}, LIMITS), ({"least": 1, "most": 16, "prior": 3.0}, LIMITS)],
    ("allocate", "knapsack"): [({}, LIMITS), ({"predictor": "prompt", "least": 1, "most": 16, "prior": 2.0}, LIMITS)],
    ("allocate", "dual_descent"): [({}, LIMITS), ({"predictor": "prompt", "eta": 3.0, "most": 1024}, LIMITS)],
    ("route", "threshold"): [({}, LIMITS), ({"predictor": "prompt", "prior": 1.0, "large_tokens": 90_000}, LIMITS)],
    ("allocate", "mcpp"): [({}, LIMITS), ({"counts": [2, 3], "simulations": 1}, LIMITS)],
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
