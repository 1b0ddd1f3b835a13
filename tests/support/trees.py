"""Trees as the service delivers them, written by hand."""

from typing import Any

import numpy as np

from treeroll.pb.v1 import common_pb2

PROMPT = [11, 12, 13]


def ids(*tokens: int) -> bytes:
    return np.array(tokens, "<i4").tobytes()


def floats(*values: float) -> bytes:
    return np.array(values, "<f4").tobytes()


def node(number: int, parent: int, path: str, tokens: list[int], **fields: Any) -> common_pb2.Node:
    """A node with plausible values in all required fields; the root has no logprobs and no versions."""
    sampled = {} if number == 0 else {"weight_versions": [common_pb2.WeightSpan(version=3, tokens=len(tokens))]}
    defaults: dict[str, Any] = {
        "depth": len(path.split(".")) if path else 0,
        "sibling_index": int(path.split(".")[-1]) if path else 0,
        "logprobs": b"" if number == 0 else floats(*[-0.5 * number] * len(tokens)),
        "text": f"<{number}>",
        "branch_reason": "initial" if number else "prompt",
        "decision": "boundary",
        "status": "inner",
        **sampled,
    }
    return common_pb2.Node(number=number, parent=parent, path=path, token_ids=ids(*tokens), **(defaults | fields))


def sample_tree(tree_id: str = "t0", task_id: str = "a", **fields: Any) -> common_pb2.Tree:
    """Prompt of 3; node 1 (2 tokens) forks into leaf 2 (3 tokens, eos, reward 1) and 3 (1 token, length, unscored)."""
    reward = common_pb2.Reward(scorer="math", version=1, value=1.0)
    defaults: dict[str, Any] = {
        "run_id": "r",
        "prompt_text": "Compute",
        "status": "complete",
        "nodes": [
            node(0, 0, "", PROMPT, n_leaves=2, tin=0, tout=4),
            node(1, 0, "0", [21, 22], token_start=3, n_leaves=2, tin=1, tout=4),
            node(3, 1, "0.1", [41], token_start=5, status="leaf", stop_reason="length", branch_reason="fork"),
            node(2, 1, "0.0", [31, 32, 33], token_start=5, status="leaf", stop_reason="eos", rewards=[reward]),
        ],
        "leaves": [
            common_pb2.LeafCredit(
                leaf=2,
                path_weight=0.5,
                advantages=np.array([0.25, -1.5], "<f8").tobytes(),
                reward_status="ok",
                reward=1.0,
            ),
            common_pb2.LeafCredit(leaf=3, path_weight=0.5, reward_status="missing"),
        ],
        "n_scored": 1,
        "n_censored": 2,
        "ledger": common_pb2.Ledger(granted=10, spent=6, returned=4),
        "temperature": 0.5,
        "top_p": 1.0,
        "top_k": 20,
        "logprobs_mode": "processed",
        "tokenizer_hash": "abc",
        "extra_json": '{"level": 2}',
        "answer": "5",
    }
    return common_pb2.Tree(tree_id=tree_id, task_id=task_id, **(defaults | fields))


def failed_tree(tree_id: str, task_id: str) -> common_pb2.Tree:
    """A task that ended without a sample."""
    return common_pb2.Tree(tree_id=tree_id, task_id=task_id, status="failed", error="prompt is too long")
