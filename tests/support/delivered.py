"""A tree as it is delivered, with an estimator's credit, from what credit can read of it."""

import numpy as np
from tests.support.credit import LIMITS
from tests.support.trees import PROMPT, node, sample_tree

from treeroll.client.records import TreeRecord
from treeroll.pb.v1 import common_pb2
from treeroll.policies import registry
from treeroll.policy.base import CreditTree
from treeroll.records.assemble import complete


def token_ids(number: int, count: int) -> list[int]:
    """Tokens of a node: no two of a tree are equal."""
    return [1000 * number + place for place in range(count)]


def delivered(tree: CreditTree, estimator: str) -> TreeRecord:
    """The tree with credit by an estimator's defaults. Nodes that lead to no leaf hang on the prompt."""
    parents = {number: above for path in tree.paths.values() for above, number in zip((0, *path), path, strict=False)}
    siblings = dict.fromkeys(tree.n_tokens, 0)
    nodes = [node(0, 0, "", PROMPT)]
    for number in range(1, len(tree.n_tokens)):
        parent = parents.get(number, 0)
        nodes.append(node(number, parent, str(siblings[parent]), token_ids(number, tree.n_tokens[number])))
        nodes[-1].token_start = nodes[parent].token_start + len(nodes[parent].token_ids) // 4
        nodes[-1].status = "leaf" if number in tree.paths else "inner"
        siblings[parent] += 1
    credit = registry.build("advantage", estimator, {}, LIMITS).estimate(tree) if tree.rewards else {}
    leaves = [_credit(tree, leaf, credit.get(leaf, ())) for leaf in tree.paths]
    return TreeRecord.from_proto(complete(sample_tree(nodes=nodes, leaves=leaves, n_scored=len(tree.rewards))))


def _credit(tree: CreditTree, leaf: int, advantages: tuple[float, ...]) -> common_pb2.LeafCredit:
    scored = {"reward": tree.rewards[leaf], "reward_status": "ok"} if leaf in tree.rewards else {}
    share = 1 / len(tree.paths)
    return common_pb2.LeafCredit(
        leaf=leaf, path_weight=share, advantages=np.array(advantages, "<f8").tobytes(), **scored
    )
