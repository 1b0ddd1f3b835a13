"""Cutting a token stream at boundaries, whatever its deltas; and the text of the pieces."""

from itertools import accumulate, pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

from treeroll.demo import MODEL_DIR
from treeroll.errors import InvalidInput
from treeroll.generator.detokenizer import Detokenizer, TextStream
from treeroll.generator.engine import Delta, VersionSpan
from treeroll.generator.segmenter import Segmenter, SegmentTokens


def delta(start: int, tokens: int, entropies: bool = False, spans: list[VersionSpan] | None = None) -> Delta:
    """Tokens numbered by their position."""
    ids = list(range(start, start + tokens))
    spans = spans if spans is not None else [VersionSpan(0, tokens)] if tokens else []
    return Delta(ids, [-float(i) for i in ids], spans, [i / 2 for i in ids] if entropies else None)


def positions(segments: list[SegmentTokens]) -> list[list[int]]:
    return [segment.token_ids.tolist() for segment in segments]


@given(
    st.lists(st.integers(1, 40), min_size=1, max_size=12), st.lists(st.integers(0, 50), max_size=40), st.integers(1, 99)
)
def test_any_deltas_give_the_same_segments(steps: list[int], sizes: list[int], prefix: int) -> None:
    boundaries = [prefix + sum(steps[: i + 1]) for i in range(len(steps))]
    sizes = [*sizes, sum(steps)]
    segmenter, segments, at = Segmenter(prefix, boundaries, limit=99, entropies=True), [], prefix
    for size in sizes:
        size = min(size, boundaries[-1] - at)
        segments += segmenter.feed(delta(at, size, entropies=True))
        at += size
    assert positions(segments) == [list(range(a, b)) for a, b in pairwise([prefix, *boundaries])]
    for segment in segments:
        assert segment.at_boundary
        assert np.frombuffer(segment.logprobs, "<f4").tolist() == [-float(i) for i in segment.token_ids]
        assert np.frombuffer(segment.entropies, "<f4").tolist() == [i / 2 for i in segment.token_ids]
        assert segment.spans == [VersionSpan(0, segment.tokens)]
    assert segmenter.complete
    assert not segmenter.exhausted
    assert segmenter.remainder() is None


def test_one_delta_may_finish_several_segments_and_leave_a_remainder() -> None:
    segmenter = Segmenter(10, [13, 16, 40], limit=3)
    assert positions(segmenter.feed(delta(10, 8))) == [[10, 11, 12], [13, 14, 15]]
    assert segmenter.pending == 2
    rest = segmenter.remainder()
    assert rest is not None
    assert (rest.token_ids.tolist(), rest.at_boundary) == ([16, 17], False)


def test_a_branch_without_credit_makes_no_more_segments() -> None:
    segmenter = Segmenter(0, [4, 8, 12], limit=1)
    assert len(segmenter.feed(delta(0, 10))) == 1
    assert segmenter.exhausted
    assert segmenter.pending == 6
    assert segmenter.remainder() is None
    segmenter.limit = 2  # an acknowledgement came
    assert positions(segmenter.feed(delta(10, 0))) == [[4, 5, 6, 7]]


def test_the_last_boundary_needs_no_credit() -> None:
    segmenter = Segmenter(0, [4], limit=1)
    segmenter.feed(delta(0, 4))
    assert segmenter.complete
    assert not segmenter.exhausted


@given(
    st.lists(st.tuples(st.integers(1, 3), st.integers(1, 9), st.booleans()), min_size=1, max_size=12),
    st.lists(st.integers(1, 9), min_size=1, max_size=40),
    st.lists(st.integers(1, 30), min_size=1, max_size=9),
)
def test_weight_versions_follow_the_tokens_they_made(
    spans: list[tuple[int, int, bool]], deltas: list[int], steps: list[int]
) -> None:
    """Whatever the deltas and the boundaries, each token keeps its own label."""
    labels = [(version, mixed) for version, tokens, mixed in spans for _ in range(tokens)]
    segmenter, segments, at = Segmenter(0, list(accumulate([*steps, len(labels)])), limit=99), [], 0
    for size in [*deltas, len(labels)]:
        told = [VersionSpan(version, 1, mixed) for version, mixed in labels[at : at + size]]
        segments += segmenter.feed(delta(at, len(told), spans=told))
        at += len(told)
    rest = segmenter.remainder()
    kept = [span for segment in [*segments, *([rest] if rest else [])] for span in segment.spans]
    assert [(span.version, span.kv_mixed) for span in kept for _ in range(span.tokens)] == labels
    assert all(sum(span.tokens for span in segment.spans) == segment.tokens for segment in segments)
    assert all(a[::2] != b[::2] for segment in segments for a, b in pairwise(segment.spans)), "spans are joined"


def test_text_of_segments_joins_to_the_whole_text() -> None:
    detokenizer = Detokenizer(MODEL_DIR)
    text = "Step 1: 3+4=7, so 7-2.\nThe answer is \\boxed{5}."
    ids = detokenizer.tokenizer.encode(text).ids
    for size in (1, 3, 7, 100):
        stream = detokenizer.open(detokenizer.tokenizer.encode("Compute 3+4-2.\n").ids)
        parts = [stream.step(ids[i : i + size]) for i in range(0, len(ids), size)]
        assert "".join(parts) == text
        assert stream.step([1]) == "", "the end of a text has no text"


def byte_tokenizer() -> Tokenizer:
    """One token per byte, as large byte-level vocabularies fall back to."""
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE(vocab={letter: i for i, letter in enumerate(letters)}, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer


def test_a_character_across_a_boundary_belongs_to_the_later_segment() -> None:
    tokenizer = byte_tokenizer()
    ids = tokenizer.encode("ab€cd").ids  # 1 + 1 + 3 + 1 + 1 bytes
    stream = TextStream(tokenizer, [])
    assert [stream.step(ids[:3]), stream.step(ids[3:])] in (["ab", "€cd"], ["", "ab€cd"])
    forked = TextStream(tokenizer, ids[:3])
    assert forked.step(ids[3:]).endswith("€cd")


def test_a_model_without_tokenizer_is_refused(tmp_path: object) -> None:
    with pytest.raises(InvalidInput, match="is no model: it has no config"):
        Detokenizer(str(tmp_path))
