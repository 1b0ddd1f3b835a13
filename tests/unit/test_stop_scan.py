"""The token that completes a stop string: the same one however tokens come, and wherever a path was left."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from treeroll.generator.stop_scan import StopScan

# The text of each token. Token 6 says nothing, as special tokens do, and tokens that only begin a character.
PIECES = ("a", "b", "ab", "\n", "\n\n", "ba", "", "abab", "c\n")
STOPS = ["\n\n", "ab", "aba", "a\nb", "bb", "c"]

Tokens = st.lists(st.integers(0, len(PIECES) - 1), max_size=25)
Stops = st.lists(st.sampled_from(STOPS), min_size=1, max_size=3, unique=True)


def scan(stops: list[str], before: str = "", min_tokens: int = 0) -> StopScan:
    return StopScan(stops, PIECES.__getitem__, before, min_tokens)


def by_definition(stops: list[str], tokens: list[int], min_tokens: int) -> int | None:
    """The first token in whose text a stop string of the whole text ends."""
    text = ""
    for count, token in enumerate(tokens, 1):
        known, text = len(text), text + PIECES[token]
        ends = (at + len(stop) for stop in stops for at in range(len(text)) if text.startswith(stop, at))
        if count > min_tokens and any(end > known for end in ends):
            return count
    return None


@given(tokens=Tokens, stops=Stops, sizes=st.lists(st.integers(1, 6), max_size=25), min_tokens=st.integers(0, 8))
def test_any_deltas_find_the_token_of_the_definition(
    tokens: list[int], stops: list[str], sizes: list[int], min_tokens: int
) -> None:
    made, at, found = scan(stops, min_tokens=min_tokens), 0, None
    for size in [*sizes, len(tokens)]:
        count = made.find(tokens[at : at + size])
        if count is not None:
            found = at + count
            break
        at += size
    assert found == by_definition(stops, tokens, min_tokens)


@given(tokens=Tokens, stops=Stops, cut=st.integers(0, 25), min_tokens=st.integers(0, 8))
def test_a_fork_finds_what_the_path_it_left_would_have_found(
    tokens: list[int], stops: list[str], cut: int, min_tokens: int
) -> None:
    whole = by_definition(stops, tokens, min_tokens)
    if whole is not None and whole <= cut:
        return  # nothing is forked behind the end
    before = "".join(PIECES[token] for token in tokens[:cut])
    fork = scan(stops, before[-255:], max(0, min_tokens - cut))
    found = fork.find(tokens[cut:])
    assert (None if found is None else cut + found) == whole


@pytest.mark.parametrize("before", ["x" * 300 + "en", "en"])
def test_a_stop_string_may_straddle_where_a_request_begins_but_not_lie_before_it(before: str) -> None:
    assert StopScan(["end"], {1: "d", 2: "q"}.__getitem__, before, 0).find([2, 1]) is None
    assert StopScan(["end"], {1: "d", 2: "q"}.__getitem__, before, 0).find([1]) == 1
    assert StopScan(["en"], {1: "d", 2: "q"}.__getitem__, before, 0).find([2, 1]) is None
