"""Random trees with all that packing has to get right, and what a row must hold, by definition."""

from typing import Any

import numpy as np
from tests.support.trees import floats, node, sample_tree

from treeroll.client.records import Sample, samples_of
from treeroll.client.training import trained
from treeroll.pb.v1 import common_pb2
from treeroll.records.assemble import complete
from treeroll.records.split import split_nodes

VOCABULARY = 64


def random_tree(chance: np.random.Generator, tree_id: str, nodes: int = 9) -> common_pb2.Tree:
    """Nodes that begin inside others, inserted and observed tokens, other models' nodes, unscored leaves.

    Advantages are multiples of 1/8, whose sums are exact in any order.
    """
    made = [node(0, 0, "", chance.integers(VOCABULARY, size=int(chance.integers(1, 6))).tolist())]
    for number in range(1, nodes):
        parent = made[int(chance.integers(max(0, number - 4), number))]
        made.append(_random_node(chance, number, parent))
    parents = {each.parent for each in made[1:]}
    for each in made[1:]:
        each.status = "leaf" if each.number not in parents or chance.random() < 0.1 else "inner"
    tree = sample_tree(tree_id, nodes=made, leaves=[], temperature=1.0)
    split_nodes(tree)
    _add_leaves(chance, tree, {each.number for each in tree.nodes if each.number < nodes and each.status == "leaf"})
    return complete(tree)


def _random_node(chance: np.random.Generator, number: int, parent: common_pb2.Node) -> common_pb2.Node:
    size, above = int(chance.integers(1, 7)), len(parent.token_ids) // 4
    inserted, observed = (int(chance.integers(0, size // 2 + 1)) if chance.random() < 0.3 else 0 for _ in range(2))
    logprobs = chance.normal(-np.log(VOCABULARY), 0.5, size).clip(max=-0.01)
    logprobs[:inserted] = logprobs[size - observed :] = 0.0
    made = node(
        number,
        parent.number,
        "",
        chance.integers(VOCABULARY, size=size).tolist(),
        sibling_index=number,
        token_start=parent.token_start + above,
        logprobs=floats(*logprobs),
        inserted_tokens=inserted,
        observation_tokens=observed,
        text="x" * size,
    )
    if parent.number and above > 1 and chance.random() < 0.3:
        start = int(chance.integers(1, above))
        made.token_start, made.parent_chars = parent.token_start + start, start
    if chance.random() < 0.2:
        made.temperature = float(chance.choice([0.5, 1.5]))
    if chance.random() < 0.1:
        made.model = "other"
    return made


def _add_leaves(chance: np.random.Generator, tree: common_pb2.Tree, leaves: set[int]) -> None:
    parents = {each.number: each.parent for each in tree.nodes}
    for leaf in sorted(leaves):
        depth, number = 0, leaf
        while number:
            depth, number = depth + 1, parents[number]
        credit = tree.leaves.add(leaf=leaf, path_weight=1 / len(leaves), reward_status="missing")
        if chance.random() < 0.75 or leaf == max(leaves):
            credit.reward, credit.reward_status = float(chance.integers(2)), "ok"
            credit.advantages = (chance.integers(-16, 17, depth) / 8).astype("<f8").tobytes()


def random_samples(seed: int, trees: int, nodes: int = 9) -> list[Sample]:
    chance = np.random.default_rng(seed)
    return [sample for number in range(trees) for sample in samples_of(random_tree(chance, f"t{number}", nodes))]


def kept_of(samples: list[Sample], training: Any) -> dict[int, Sample]:
    """Place in the batch -> sample, for those with a token that is trained on."""
    found = trained(samples, training)
    places = {id(sample): place for place, sample in enumerate(samples)}
    rows = zip(found.samples, found.loss_mask, strict=True)
    return {places[id(sample)]: sample for sample, mask in rows if mask.any()}


def unique_tokens(samples: list[Sample]) -> int:
    """Tokens of prompts and nodes, each counted once per tree."""
    prompts = {sample.tree_id: len(sample.prompt_ids) for sample in samples}
    nodes = {}
    for sample in samples:
        lengths = np.diff([*sample.path_offsets, len(sample.completion_ids)]).tolist()
        nodes |= dict(zip(sample.path_node_ids, lengths, strict=True))
    return sum(prompts.values()) + sum(nodes.values())
