"""Packing: every tree in one row, and every token of it once, for models that attend along a tree.

A token that several samples share is read by the model once. What a loss needs of it are sums over those samples, so
that the gradient is the one of the padded arrays (`treeroll.client.tensors`).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from treeroll.checks import check_whole
from treeroll.client.prefixes import Span, Tree, trees_of
from treeroll.client.training import Array, Trained, Training, temperatures, trained
from treeroll.errors import InvalidInput
from treeroll.records.fields import Sample

if TYPE_CHECKING:
    import torch


class Segment(NamedTuple):
    """Consecutive tokens of a row that the same samples share, and what they attend to."""

    start: int
    end: int
    path: Array
    """int64; places of all tokens from the tree's first to this segment's last. The last end - start are its own."""


@dataclass(frozen=True, slots=True)
class PackedRow:
    """N tokens of one or more trees, each token once, in depth-first order. S segments, B samples.

    A place may predict several children, so a loss runs over tokens: token t has the logprob of `input_ids[t]` by the
    logits at `predictor[t]`. Its ratio r to `sampling_per_token_logps` is one for all its samples, and their clipped
    terms come to adv_pos * min(r, 1 + high) + adv_neg * max(r, 1 - low): exactly, however many samples.
    """

    input_ids: Array
    """[N] int64."""
    position_ids: Array
    """[N] int64; the token's place in its own sequence, prompt included."""
    tin: Array
    """[N] int32; number of the token's segment. Token q sees k exactly if tin[k] <= tin[q] < tout[k] and k <= q."""
    tout: Array
    """[N] int32; 1 + number of the last segment at or below it."""
    predictor: Array
    """[N] int32; the place whose logits predict the token; -1 for a tree's first."""
    sampling_per_token_logps: Array
    """[N] float32, nats, when sampled, by the engine; 0 on prompts."""
    temperature: Array
    """[N] float32; what logits are divided by for those logprobs; 1 on prompts."""
    adv_pos: Array
    """[N] float32; sum of weight x advantage over the samples that train on the token with an advantage above 0."""
    adv_neg: Array
    """[N] float32; the same over those with one below 0."""
    loss_weights: Array
    """[N] float32; sum of the weights of the samples that train on the token: for KL, entropy and denominators."""
    count: Array
    """[N] int32; samples that train on the token: 0 on prompts, observations and inserted text."""
    segment_start: Array
    """[S + 1] int32; where each segment begins, and N."""
    segment_parent: Array
    """[S] int32; the segment before it, -1 for a tree's first."""
    sample_segments: Array
    """int32; for each sample the numbers of its segments, from the tree's first to its last, one after the other."""
    sample_offsets: Array
    """[B + 1] int32; where each sample's begin in `sample_segments`."""
    sample_index: Array
    """[B] int32; the samples' places in the batch (`batch.samples`)."""

    def __len__(self) -> int:
        """Tokens that a model reads."""
        return len(self.input_ids)

    def dense_mask(self) -> Array:
        """[N, N] bool; whether the first token sees the second, for attention that cannot follow a tree."""
        places = np.arange(len(self), dtype=np.int32)
        below = (self.tin[None, :] <= self.tin[:, None]) & (self.tin[:, None] < self.tout[None, :])
        return below & (places[None, :] <= places[:, None])

    def segments(self) -> list[Segment]:
        """Of every segment, in order, what its tokens attend to."""
        starts, found = self.segment_start.tolist(), list[Segment]()
        for number, parent in enumerate(self.segment_parent.tolist()):
            start, end = starts[number], starts[number + 1]
            own = np.arange(start, end)
            path = own if parent < 0 else np.concatenate([found[parent].path, own])
            found.append(Segment(start, end, path))
        return found

    def to_torch(self, *, device: Any = None) -> "dict[str, torch.Tensor]":
        """All columns as tensors. InvalidInput if torch is not installed."""
        try:
            import torch
        except ModuleNotFoundError:
            raise InvalidInput("torch is not installed here: install treeroll[torch]") from None

        return {field.name: torch.from_numpy(getattr(self, field.name)).to(device=device) for field in fields(self)}


def packed(
    samples: Sequence[Sample], max_tokens: int | None = None, trees_per_row: int = 1, training: Training | None = None
) -> list[PackedRow]:
    """Rows of at most `max_tokens` tokens and `trees_per_row` trees, in the order of the samples.

    Only what samples that are trained on are made of is in a row. A tree of more than `max_tokens` is split by samples:
    each is in one row, and what they share is in every row that needs it, so gradients over rows add up.

    InvalidInput for a sample longer than `max_tokens`, for `clip_range`, and when no token is trained on.
    """
    training = training or {}
    _check(max_tokens, trees_per_row, training)
    found = trained(samples, training)
    places = {id(sample): place for place, sample in enumerate(samples)}
    index = [places[id(sample)] for sample in found.samples]
    kept = [number for number, mask in enumerate(found.loss_mask) if mask.any()]
    parts = [part for tree in trees_of(found.samples, kept) for part in _split(tree, max_tokens)]
    return [_row(found, index, trees) for trees in _together(parts, max_tokens, trees_per_row)]


def _check(max_tokens: int | None, trees_per_row: int, training: Training) -> None:
    if max_tokens is not None:
        check_whole("max_tokens", max_tokens, 1)
    check_whole("trees_per_row", trees_per_row, 1)
    if "clip_range" in training:
        raise InvalidInput(
            "clip_range is a sample's, and a packed token has one ratio for all samples that share it: "
            "train on to_torch(clip_range=...) instead, or on packed rows with one range"
        )


def _split(tree: Tree, max_tokens: int | None) -> Iterator[Tree]:
    """The tree, or parts of it that have room in a row each, samples in order."""
    if max_tokens is None or tree.tokens <= max_tokens:
        yield tree
        return
    part: list[int] = []
    room, seen = max_tokens, set[int]()
    for number, path in tree.paths.items():
        size = tree.size(path)
        if size > max_tokens:
            raise InvalidInput(
                f"sample {tree.samples[number].sample_id} has {size} tokens, more than a row's max_tokens {max_tokens}"
            )
        new = tree.size([node for node in path if node not in seen])
        if part and new > room:
            yield tree.part(part)
            part, room, seen, new = [], max_tokens, set(), size
        part.append(number)
        seen.update(path)
        room -= new
    yield tree.part(part)


def _together(trees: Sequence[Tree], max_tokens: int | None, trees_per_row: int) -> Iterator[list[Tree]]:
    """One row's trees after another's."""
    row: list[Tree] = []
    for tree in trees:
        full = max_tokens is not None and sum(each.tokens for each in row) + tree.tokens > max_tokens
        if row and (full or len(row) == trees_per_row):
            yield row
            row = []
        row.append(tree)
    if row:
        yield row


def _row(found: Trained, index: Sequence[int], trees: Sequence[Tree]) -> PackedRow:
    """Segments numbered from tree to tree, and their tokens one after the other."""
    spans: list[Span] = []
    paths: dict[int, list[int]] = {}
    for tree in trees:
        own, below = tree.segments(first=len(spans))
        spans += own
        paths |= below
    starts = np.cumsum([0, *(span.tokens for span in spans)])
    repeats = np.diff(starts)
    columns = _Columns(found, int(starts[-1]))
    for span, start in zip(spans, starts.tolist(), strict=False):
        columns.fill(span, start)
    predictor = np.arange(-1, len(columns.input_ids) - 1)
    parents = np.array([span.parent for span in spans])
    predictor[starts[:-1]] = np.where(parents < 0, -1, starts[parents + 1] - 1)
    return PackedRow(
        input_ids=columns.input_ids,
        position_ids=columns.position_ids,
        tin=np.repeat(np.arange(len(spans), dtype=np.int32), repeats),
        tout=np.repeat(np.array([span.last + 1 for span in spans], np.int32), repeats),
        predictor=predictor.astype(np.int32),
        sampling_per_token_logps=columns.logprobs,
        temperature=columns.temperature,
        adv_pos=columns.adv_pos.astype(np.float32),
        adv_neg=columns.adv_neg.astype(np.float32),
        loss_weights=columns.loss_weights.astype(np.float32),
        count=columns.count,
        segment_start=starts.astype(np.int32),
        segment_parent=parents.astype(np.int32),
        sample_segments=np.array([number for path in paths.values() for number in path], np.int32),
        sample_offsets=np.cumsum([0, *map(len, paths.values())]).astype(np.int32),
        sample_index=np.array([index[number] for number in paths], np.int32),
    )


class _Columns:
    """A row's token columns while they are filled. Sums are float64 until they are whole."""

    def __init__(self, found: Trained, tokens: int) -> None:
        self._found = found
        self.input_ids = np.zeros(tokens, np.int64)
        self.position_ids = np.zeros(tokens, np.int64)
        self.logprobs = np.zeros(tokens, np.float32)
        self.temperature = np.ones(tokens, np.float32)
        self.adv_pos, self.adv_neg, self.loss_weights = (np.zeros(tokens) for _ in range(3))
        self.count = np.zeros(tokens, np.int32)

    def fill(self, span: Span, start: int) -> None:
        """What a segment's tokens are, from one of its samples, and the sums over all of them."""
        found, prompt, place = self._found, span.prompt_tokens, slice(start, start + span.tokens)
        sample = found.samples[span.samples[0]]
        self.position_ids[place] = np.arange(span.position, span.position + span.tokens)
        if prompt:
            self.input_ids[start : start + prompt] = sample.prompt_ids
        made, own = slice(start + prompt, place.stop), slice(span.start, span.end)
        self.input_ids[made] = sample.completion_ids[own]
        self.logprobs[made] = sample.logprobs[own]
        self.temperature[made] = temperatures(sample)[own]
        rows = np.array(span.samples)
        mask = found.loss_mask[rows, own]
        weights = found.loss_weights[rows, own].astype(np.float64) * mask
        terms = found.advantages[rows, own] * weights
        self.count[made] = mask.sum(axis=0)
        self.loss_weights[made] = weights.sum(axis=0)
        self.adv_pos[made] = np.maximum(terms, 0).sum(axis=0)
        self.adv_neg[made] = np.minimum(terms, 0).sum(axis=0)
