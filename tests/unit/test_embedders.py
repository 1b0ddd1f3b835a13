"""How alike texts are."""

import pytest

from treeroll.errors import InvalidInput
from treeroll.policies.embed import registry
from treeroll.policies.embed.base import cosine

NGRAMS = registry.get("ngrams")


def likeness(one, other):
    return cosine(NGRAMS.embed(one), NGRAMS.embed(other))


def test_the_cosine_is_of_the_angle_and_not_of_the_lengths():
    assert cosine({0: 3.0, 1: 4.0}, {1: 6.0, 0: 8.0}) == pytest.approx(0.96)
    assert cosine({0: 1.0}, {1: 2.0}) == 0
    assert cosine({}, {1: 2.0}) == 0


@pytest.mark.parametrize("text", ["=84\n", "x", "", "one two three four five six", "\ud800\x00"])
def test_equal_texts_are_exactly_alike(text):
    assert likeness(text, text) == 1


@pytest.mark.parametrize("vector", [[0.1, 0.7, 0.3], [1e-3, 3.0, 1 / 3], [1 / 7] * 5])
def test_equal_vectors_have_a_cosine_of_exactly_one(vector):
    assert cosine(dict(enumerate(vector)), dict(reversed(list(enumerate(vector))))) == 1


def test_texts_are_alike_by_the_share_of_trigrams_they_have_in_common():
    # abc bcd cde, and bcd cde def: two of three each.
    assert likeness("abcde", "bcdef") == pytest.approx(2 / 3)
    assert likeness("=84\n", "=97\n") == 0


def test_case_and_white_space_make_no_difference():
    assert likeness("Paris is  in\nFrance", " paris is in france") == 1


def test_a_misspelt_embedder_is_refused_with_those_that_exist():
    with pytest.raises(InvalidInput, match="unknown embedder 'ngram'; choose one of ngrams"):
        registry.get("ngram")
