"""From trees to policy gradients: credit times score, summed over tokens, with every shared token forwarded once."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from treeroll.bench.learning.families import Credit, Weighting
from treeroll.bench.learning.network import Network
from treeroll.bench.learning.noise import Vector
from treeroll.client import Sample, TreeRecord
from treeroll.policies import registry
from treeroll.policy.base import CreditTree, Limits

# Estimators take a run's shape; none that is used here reads it.
ANY_SHAPE = Limits(leaves=16, segment_tokens=64, max_depth=8, max_tokens=512)
Floats = npt.NDArray[np.float64]


def credit_tree(tree: TreeRecord) -> CreditTree:
    """What estimators see of a tree that came out of the service. Labels of growth are not in records, so not here."""
    numbers = {node.node_id: number for number, node in enumerate(tree.nodes)}
    paths = {}
    rewards = {}
    for sample in tree.samples:
        path = tuple(numbers[name] for name in sample.path_node_ids)
        paths[path[-1]] = path
        if sample.reward is not None:
            rewards[path[-1]] = sample.reward
    tokens = {number: len(node.token_ids) if number else 0 for number, node in enumerate(tree.nodes)}
    logprobs = {number: float(np.sum(node.logprobs)) if number else 0.0 for number, node in enumerate(tree.nodes)}
    return CreditTree(paths, rewards, tokens, logprobs)


def factors(tree: TreeRecord, credit: Credit) -> list[Floats]:
    """Weight times advantage of every completion token of each sample; the weights of a tree's samples add up to 1.

    All tokens are the model's own here: these runs have no tools and insert nothing.
    """
    estimator = registry.build("advantage", credit.estimator, credit.params, ANY_SHAPE)
    shown = credit_tree(tree)
    advantages = estimator.estimate(shown)
    found = []
    for sample, leaf, weight in zip(tree.samples, shown.paths, weights(tree, credit.weighting), strict=True):
        found.append(weight * np.repeat(np.asarray(advantages[leaf]), _lengths(sample)))
    return found


def weights(tree: TreeRecord, weighting: Weighting) -> list[float]:
    """Of each sample."""
    if weighting == "path":
        return [sample.path_weight for sample in tree.samples]
    return [1 / len(tree.samples)] * len(tree.samples)


@dataclass
class _Part:
    """A node on the path of a sample: where its tokens are among all, and those of its whole path."""

    start: int
    end: int
    path: Tensor
    """Places of the path's tokens, its own last."""
    seen: Tensor
    """[own tokens, path's tokens]: which tokens attention sees."""


class PackedTree:
    """The tokens of a tree in depth-first order, each once; nodes that lead to no sample are left out."""

    def __init__(self, tree: TreeRecord) -> None:
        self._parts: dict[str, _Part] = {}
        ids: list[int] = []
        positions: list[int] = []
        predictors: list[int] = []
        for node in tree.nodes:
            if node.parent_id is not None and not node.n_leaves:
                continue
            own, start = node.token_ids.tolist(), len(ids)
            above = self._parts[node.parent_id].path if node.parent_id is not None else torch.zeros(0, dtype=torch.long)
            path = torch.cat([above, torch.arange(start, start + len(own))])
            seen = torch.arange(len(path))[None] <= torch.arange(len(above), len(path))[:, None]
            self._parts[node.node_id] = _Part(start, start + len(own), path, seen)
            ids += own
            positions += range(node.token_start, node.token_start + len(own))
            predictors += [int(above[-1]) if len(above) else -1, *range(start, start + len(own) - 1)][: len(own)]
        self.ids, self.positions = torch.tensor([ids]), torch.tensor([positions])
        self._predictors = torch.tensor(predictors)

    def coefficients(self, tree: TreeRecord, per_sample: Sequence[Floats]) -> Tensor:
        """Of each token's log probability: the sum over the samples through it."""
        found = np.zeros(self.ids.shape[1])
        for sample, values in zip(tree.samples, per_sample, strict=True):
            for name, (begin, end) in zip(sample.path_node_ids, _spans(sample), strict=True):
                part = self._parts[name]
                found[part.start : part.end] += values[begin:end]
        return torch.from_numpy(found).float()

    def objective(self, network: Network, coefficients: Tensor) -> Tensor:
        """Sum over tokens of coefficient times log probability."""
        parts = list(self._parts.values())

        def attend(_: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
            return torch.cat(
                [
                    F.scaled_dot_product_attention(
                        q[:, :, part.start : part.end], k[:, :, part.path], v[:, :, part.path], attn_mask=part.seen
                    )
                    for part in parts
                ],
                2,
            )

        logits = network.compute(self.ids, self.positions, attend)[0]
        chosen = coefficients.nonzero()[:, 0]
        logprobs = logits[self._predictors[chosen]].log_softmax(-1).gather(1, self.ids[0, chosen, None])[:, 0]
        return (logprobs * coefficients[chosen]).sum()


def gradient(network: Network, tree: TreeRecord, credit: Credit) -> Vector:
    """Of the tree's samples, over all weights of the network in the order of their names."""
    per_sample = factors(tree, credit)
    if not any(np.any(values) for values in per_sample):
        return np.zeros(network.size, np.float32)
    packed = PackedTree(tree)
    parameters = list(network.weights.values())
    for parameter in parameters:
        parameter.requires_grad_(True)
    try:
        objective = packed.objective(network, packed.coefficients(tree, per_sample))
        found = torch.autograd.grad(objective, parameters)
    finally:
        for parameter in parameters:
            parameter.requires_grad_(False)
    return np.asarray(torch.cat([part.flatten() for part in found]).numpy())


def move(network: Network, direction: Vector, length: float) -> None:
    """One step of this length along a direction; none along no direction."""
    size = float(np.linalg.norm(direction))
    if size == 0.0:
        return
    begin = 0
    with torch.no_grad():
        for parameter in network.weights.values():
            part = direction[begin : begin + parameter.numel()]
            parameter.add_(torch.from_numpy(part).view_as(parameter), alpha=length / size)
            begin += parameter.numel()


def _spans(sample: Sample) -> list[tuple[int, int]]:
    """First and last (exclusive) completion token of each of its nodes."""
    return list(pairwise([*map(int, sample.path_offsets), len(sample.completion_ids)]))


def _lengths(sample: Sample) -> list[int]:
    return [end - begin for begin, end in _spans(sample)]
