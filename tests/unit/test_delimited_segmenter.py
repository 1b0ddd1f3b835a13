"""Segments that end with a delimiter: the same ones whatever the deltas, and what counts as one."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

from treeroll.generator.delimiter import DelimiterScan
from treeroll.generator.detokenizer import TextStream
from treeroll.generator.engine import Delta, VersionSpan
from treeroll.generator.segmenter import DelimitedSegmenter, SegmentTokens

# The text of each token. Token 8 says nothing, as special tokens do.
PIECES = ("a", "b ", "\n", "\n\n", " \n", "c\n\nd", "\n\n\n", "x\n", "")
PREFIX = 10


def segmenter(texts=("\n\n",), token_ids=(), levels=99, longest=1000, limit=99) -> DelimitedSegmenter:
    scan = DelimiterScan(texts, token_ids, PIECES.__getitem__)
    return DelimitedSegmenter(PREFIX, [longest] * levels, limit, scan)


def feed(made: DelimitedSegmenter, *tokens: int) -> list[SegmentTokens]:
    return made.feed(Delta(tokens, [0.0] * len(tokens), [VersionSpan(0, len(tokens))]))


def ids(segments: list[SegmentTokens]) -> list[list[int]]:
    return [segment.token_ids.tolist() for segment in segments]


def by_definition(tokens: list[int], texts: list[str], token_ids: set[int], levels: int, longest: int) -> list[int]:
    """Where segments end, found by looking at the whole text of each after every token."""
    ends, start = [], 0
    for end in range(1, min(len(tokens), longest) + 1):
        text, before = ("".join(PIECES[token] for token in tokens[start:e]) for e in (end, end - 1))
        found = any(
            at + len(delimiter) > len(before) and text[:at].strip() and text.startswith(delimiter, at)
            for delimiter in texts
            for at in range(len(text))
        )
        if end == longest or ((found or tokens[end - 1] in token_ids) and len(ends) + 1 < levels):
            ends.append(end)
            start = end
    return ends


@given(
    tokens=st.lists(st.integers(0, len(PIECES) - 1), min_size=1, max_size=30),
    sizes=st.lists(st.integers(0, 9), max_size=40),
    texts=st.lists(st.sampled_from(["\n\n", "\n", "a\n", "b a", " "]), max_size=3),
    token_ids=st.sets(st.integers(0, len(PIECES) - 1), max_size=1),
    levels=st.integers(1, 6),
    longest=st.integers(1, 35),
)
def test_any_deltas_give_the_segments_of_the_definition(tokens, sizes, texts, token_ids, levels, longest) -> None:
    tokens = tokens[:longest]  # an engine decodes no further
    made, segments, at = segmenter(texts, token_ids, levels, PREFIX + longest), [], 0
    for size in [*sizes, len(tokens)]:
        segments += feed(made, *tokens[at : at + size])
        at += size
    ends = by_definition(tokens, texts, token_ids, levels, longest)
    assert ids(segments) == [tokens[start:end] for start, end in pairwise([0, *ends])]
    assert made.complete == (len(tokens) == longest)
    rest = made.remainder()
    if rest is not None:
        segments.append(rest)
    assert [token for segment in ids(segments) for token in segment] == tokens
    assert [segment.text for segment in segments] == [
        "".join(PIECES[token] for token in segment) for segment in ids(segments)
    ]


def test_a_blank_line_ends_a_segment_and_belongs_to_it() -> None:
    assert ids(feed(segmenter(), 0, 1, 3, 0, 2, 2, 1)) == [[0, 1, 3], [0, 2, 2]]


def test_no_segment_is_blank() -> None:
    assert ids(feed(segmenter(), 3, 3, 8, 0, 3, 4, 2, 3, 1, 3)) == [[3, 3, 8, 0, 3], [4, 2, 3, 1, 3]]


def test_a_token_that_holds_more_than_the_delimiter_is_not_split() -> None:
    made = segmenter()
    assert ids(feed(made, 0, 5, 2, 1, 2)) == [[0, 5]]
    rest = made.remainder()
    assert rest is not None
    assert (rest.text, rest.at_boundary) == ("\nb \n", False)


def test_a_delimiter_does_not_straddle_two_segments() -> None:
    # The first newline ends a segment by its id; the second would complete a blank line.
    assert ids(feed(segmenter(token_ids=(7,)), 7, 2, 0, 2, 2)) == [[7], [2, 0, 2, 2]]


def test_a_token_id_ends_a_segment_even_alone_and_without_text() -> None:
    assert ids(feed(segmenter(texts=(), token_ids=(8,)), 8, 0, 8, 1)) == [[8], [0, 8]]


def test_the_last_segment_has_no_delimiter() -> None:
    made = segmenter(levels=2, longest=PREFIX + 8)
    assert ids(feed(made, 0, 3, 0, 3, 0)) == [[0, 3]]
    assert not made.complete
    assert ids(feed(made, 3, 0, 3)) == [[0, 3, 0, 3, 0, 3]]
    assert made.complete


def test_a_delimiter_completed_at_the_longest_total_ends_the_path() -> None:
    made = segmenter(longest=PREFIX + 2, limit=1)
    assert ids(feed(made, 0, 3)) == [[0, 3]]
    assert made.complete
    assert not made.exhausted
    assert made.remainder() is None


def test_credit_counts_segments_and_later_ones_are_found_once_it_grows() -> None:
    made = segmenter(limit=1)
    assert ids(feed(made, 0, 3, 1, 3, 0)) == [[0, 3]]
    assert (made.exhausted, made.pending) == (True, 3)
    assert made.remainder() is None
    made.limit = 2
    segments = feed(made)
    assert (ids(segments), segments[0].text) == ([[1, 3]], "b \n\n")


@pytest.mark.parametrize("delimiter", ["€", "b€", "€\n"])
def test_a_delimiter_is_found_where_its_last_byte_completes_a_character(delimiter: str) -> None:
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE(vocab={letter: i for i, letter in enumerate(letters)}, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    stream = TextStream(tokenizer, [])
    scan = DelimiterScan((delimiter,), (), lambda token: stream.step((token,)))
    made = DelimitedSegmenter(PREFIX, [1000] * 9, 9, scan)
    tokens = tokenizer.encode("ab€\nc€\n").ids
    wanted = "ab€\n" if delimiter == "€\n" else "ab€"
    segments = feed(made, *tokens)
    assert segments[0].text == wanted
    assert segments[0].tokens == len(wanted.encode())
