"""Edges: what a tree grew between two forks, each as a sample of its own."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import pairwise
from math import fsum
from statistics import fmean
from typing import Any, NamedTuple

import numpy as np

from treeroll.client.records import TreeRecord
from treeroll.client.sample import TRUNCATED
from treeroll.errors import InvalidInput
from treeroll.records.fields import PER_TOKEN, Node, Sample
from treeroll.records.read import newest


def edge_samples(tree: TreeRecord) -> list[Sample]:
    """One sample per edge that has credit, depth first: SPO's unit of training (arXiv 2505.23564).

    prompt_ids are all tokens before the edge, prompt included; completion_ids and the other token columns are the
    edge's own, so every token of the tree is trained on, and whitened, once:
    `treeroll.client.tensors.padded(edge_samples(tree), max_prob=0.9, whiten=True)`.

    An edge runs from one fork to the next, between leaves with a reward. Edges whose credit is 0 are left out. (SPO's
    release looks at its best-of-4 values too; these rise with the value, so no other edges are left out by that.)

    Ours, columns that mean something else than for a path: sample_id is the edge's last node; `index` and `group_size`
    count the edges given; `reward` is the mean and `path_weight` the sum over the scored leaves at or below; `rewards`
    are those of the last node itself. The replay buffer of the release is the trainer's business.

    InvalidInput if leaves that share an edge have other credit for it, as from estimators that credit whole paths
    (grpo, treepo ...).
    """
    nodes = {node.node_id: node for node in tree.nodes}
    scored = [sample for sample in tree.samples if sample.advantages is not None]
    through: dict[str, list[Sample]] = {}
    for sample in scored:
        for name in sample.path_node_ids:
            through.setdefault(name, []).append(sample)
    edges: dict[str, Sample] = {}
    for sample in scored:
        for span in _spans(sample, through):
            name = sample.path_node_ids[span.after - 1]
            if name not in edges:
                edges[name] = _edge(sample, span, through[name], nodes)
            _check_same(edges[name], sample, span)
    kept = [edge for edge in edges.values() if edge.advantages is not None and edge.advantages.any()]
    return [replace(edge, index=index, group_size=len(kept)) for index, edge in enumerate(kept)]


class _Span(NamedTuple):
    """An edge as a part of one path: its nodes, and their tokens in the completion."""

    first: int
    after: int
    tokens: slice


def _spans(sample: Sample, through: Mapping[str, list[Sample]]) -> Iterator[_Span]:
    counts = [len(through[name]) for name in sample.path_node_ids]
    heads = [0, *(place for place in range(1, len(counts)) if counts[place] != counts[place - 1]), len(counts)]
    offsets = [*sample.path_offsets.tolist(), len(sample.completion_ids)]
    for first, after in pairwise(heads):
        yield _Span(first, after, slice(offsets[first], offsets[after]))


def _edge(sample: Sample, span: _Span, through: list[Sample], nodes: Mapping[str, Node]) -> Sample:
    """The span of one of the samples through it; `index` and `group_size` are still the path's."""
    above = [nodes[name] for name in sample.path_node_ids[: span.first]]
    own = [nodes[name] for name in sample.path_node_ids[span.first : span.after]]
    versions = [part.version for node in own if node.model == sample.model for part in node.weight_versions]
    oldest = min(versions, default=sample.min_weight_version)
    newest_version = max(versions, default=sample.max_weight_version)
    tokens = span.tokens
    own_tokens: dict[str, Any] = {name: _part(getattr(sample, name), tokens) for name in PER_TOKEN}
    return replace(
        sample,
        **own_tokens,
        sample_id=own[-1].node_id,
        group=own[-1].group,
        prompt_ids=np.concatenate([sample.prompt_ids, sample.completion_ids[: tokens.start]]),
        prompt_text="".join([sample.prompt_text, *(node.text for node in above)]),
        completion_text="".join([node.text for node in own]),
        reward=fmean([leaf.reward for leaf in through if leaf.reward is not None]),
        rewards=newest(own[-1].rewards),
        path_node_ids=[node.node_id for node in own],
        path_offsets=sample.path_offsets[span.first : span.after] - np.int32(tokens.start),
        path_weight=fsum(leaf.path_weight for leaf in through),
        min_weight_version=oldest,
        max_weight_version=newest_version,
        staleness=_moved(sample.staleness, sample.min_weight_version - oldest),
        staleness_newest=_moved(sample.staleness_newest, sample.max_weight_version - newest_version),
        kv_mixed=any(node.kv_mixed for node in own),
        stop_reason=own[-1].stop_reason,
        is_truncated=own[-1].stop_reason in TRUNCATED,
    )


def _moved(staleness: int | None, versions: int) -> int | None:
    return None if staleness is None else staleness + versions


def _part(values: Any, tokens: slice) -> Any:
    """A per-token column of the edge, from that of the path; None where there is none."""
    return None if values is None else values[tokens]


def _check_same(edge: Sample, sample: Sample, span: _Span) -> None:
    if edge.advantages is None or sample.advantages is None:
        return
    if not np.array_equal(edge.advantages, sample.advantages[span.tokens]):
        raise InvalidInput(
            f"leaves below node {edge.sample_id} have different credit for it: edges need an estimator that credits "
            "nodes, such as spo or treerl; train on the samples themselves"
        )
