"""What tokens weigh once more, token by token as it is defined, to check the arrays of the client against."""

import math
from itertools import groupby
from statistics import fmean, variance

from tests.support.credit_by_definition import Node, Rewards, edge, nodes_of

from treeroll.policy.base import CreditTree


def standard(rows: list[list[float]], mask: list[list[int]]) -> list[list[float]]:
    """(x - mean) / sqrt(variance + 1e-8) over the tokens with mask 1; 0 elsewhere."""
    kept = [x for row, marks in zip(rows, mask, strict=True) for x, mark in zip(row, marks, strict=True) if mark]
    if len(kept) < 2:
        return [[0.0] * len(row) for row in rows]
    mean, spread = fmean(kept), math.sqrt(variance(kept) + 1e-8)
    return [
        [(x - mean) / spread if mark else 0.0 for x, mark in zip(row, marks, strict=True)]
        for row, marks in zip(rows, mask, strict=True)
    ]


def factors(entropies, logprobs, mask, strength, entropy_weight, confidence_weight, clamp):
    """ECHO's factor of every token."""
    doubts = standard([[1 - math.exp(logprob) for logprob in row] for row in logprobs], mask)
    found = []
    for row, doubt_row in zip(standard(entropies, mask), doubts, strict=True):
        scores = [entropy_weight * h + confidence_weight * d for h, d in zip(row, doubt_row, strict=True)]
        found.append([max(0.0, 1 + strength * max(-clamp, min(clamp, score))) for score in scores])
    return found


def clip_range(logprobs, lowest, highest, slope, tail):
    """ECHO's eps of one sample."""
    last = [math.exp(logprobs[place]) for place in range(len(logprobs)) if place >= len(logprobs) - tail]
    return lowest + (highest - lowest) / (1 + math.exp(-slope * (1 - sum(last) / len(last))))


def schedule(tokens, progress, start, end, outside):
    """Weights of a completion: how much of every token the window covers."""
    low = (1 - progress) * start[0] + progress * end[0]
    high = (1 - progress) * start[1] + progress * end[1]
    weights = []
    for place in range(tokens):
        covered = max(0.0, min(high, (place + 1) / tokens) - max(low, place / tokens)) * tokens
        weights.append(covered * 1 + (1 - covered) * outside)
    return weights


def edges(tree: CreditTree) -> dict[Node, list[Node]]:
    """Last node of every edge between scored leaves -> the edge's nodes in order; a node is its path."""
    rewards: Rewards = {tree.paths[leaf]: reward for leaf, reward in tree.rewards.items()}
    nodes = sorted(nodes_of(rewards), key=lambda node: (edge(rewards, node), len(node)))
    runs = [list(run) for _, run in groupby(nodes, key=lambda node: edge(rewards, node))]
    return {run[-1]: run for run in runs}
