"""Settings of every recipe and of every segment policy, for tests that go through them all."""

from treeroll.policies.recipes import get
from treeroll.policy.base import Limits

# Settings of a recipe's branch policy. None: the recipe's own; the others fit where those have too many leaves.
BRANCHES = {
    "treepo": [None, {"sync": "path", "branching": 1}, {"fallback": "none", "initial": "random"}],
    "flat": [None],
    "spo": [None, {"fanouts": [1]}, {"fanouts": [2, 2]}],
    "late_fork": [None, {"fanouts": [1]}, {"fanouts": [2, 2]}],
    "treerpo": [None, {"arity": 1}, {"arity": 2}],
    "tree_grpo": [None, {"chains": 1, "picks": 1}],
    "ib_tpo": [None, {"initial": 1, "rounds": 1}, {"initial": 1, "rounds": 3, "nodes": 2}],
    "treerl": [None, {"chains": 1, "rounds": 0}, {"chains": 1, "forks": 1}, {"chains": 2, "places": 1}],
    "echo": [None, {"answers": 1}, {"answers": 2, "max_width": 3, "min_depth": 1, "entropy": 0.5, "confidence": 1.0}],
    "hbpo": [None, {"budgets": [1], "announcement": ""}, {"budgets": [10, 20, 30]}],
    "arpo": [None, {"initial": 1}, {"initial": 1, "beam": 4, "base": 1.0}],
    "aepo": [None, {"beta": 0.0, "tau": 0.0, "forks": 2}],
    "treeps_rag": [None, {"fanout": 1}],
    "deepsearch": [None, {"width": 1, "terminals": 1}, {"width": 2, "terminals": 3}],
    "hyper": [None, {"warm_up": 1, "keep": 1}, {"warm_up": 3, "keep": 2, "pool": 4}],
    "pets": [None, {"initial": 1}, {"initial": 2, "answer": "text", "batch": 3}],
    "pets_online": [None, {"budgets": [4, 5, 6, 6, 6]}],
    "tree_planner": [None, {"samples": 1, "places": 0}, {"samples": 4, "places": 1}],
    "rebase": [None, {"value": "success"}, {"value": "steps", "quorum": 0.5}],
    "dora": [None, {"embedder": None, "timeout_s": 0.5}],
    "ets": [None, {"coverage": 0, "price": 0}, {"embedder": None}],
    "bavt": [
        None,
        {"tokens": 50, "parallel": 1},
        {"value": "judge"},
        {"prune_below": 0.0, "widen_below": 0.2, "width": 3},
    ],
    "uct": [None, {"value": "success", "width": 1}],
    "cost_band": [None, {"value": "steps", "band": 1.0}],
    "depth_first": [None, {"width": 1024, "parallel": 1024}],
    "rest_mcts": [None, {"width": 1}, {"width": 2, "iterations": 5, "value": "success", "successes": 9}],
    "mars2": [None, {"parallel": 4}, {"models": ["", "large"], "parallel": 2}],
}
SEGMENTS = {
    "fixed": [{}, {"hold": True}, {"aligned": False}],
    "per_depth": [{}, {"hold": True, "last_free": False}, {"tokens": []}, {"tokens": [1, 2]}],
    "delimiter": [{}, {"texts": ["> "]}, {"texts": [], "token_ids": [3, 4, 5], "hold": True}],
    "agent_step": [{}],
    "full_rollout": [{}],
}


def small_limits(recipe: str) -> Limits:
    """What a recipe needs to be as it is, with short segments."""
    usual = get(recipe).limits
    depth = min(usual.max_depth, 4)
    return usual if recipe == "hbpo" else Limits(usual.leaves, 32, depth, 32 * depth)
