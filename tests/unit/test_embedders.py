"""How alike texts are."""

import random
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from treeroll.errors import InvalidInput
from treeroll.similarity import registry
from treeroll.similarity.embedder import cosine
from treeroll.similarity.ngrams import FACTORS, PLACES, SHIFT

NGRAMS = registry.get("ngrams")
WORDS = ["".join(random.Random(word).choices("aeioulnrstdhcmp", k=2 + word % 7)) for word in range(300)]


def likeness(one, other):
    return cosine(NGRAMS.embed(one), NGRAMS.embed(other))


def grams(text):
    levelled = " ".join(text.lower().split())
    return {levelled[at : at + 3] for at in range(len(levelled) - 2)}


def page(seed, words=180):
    """About a thousand characters."""
    return " ".join(random.Random(seed).choices(WORDS, k=words))


def test_the_cosine_is_the_share_in_common_by_the_mean_of_sizes():
    assert cosine(0b0011, 0b1111) == pytest.approx(2 / 8**0.5)
    assert cosine(0b0011, 0b0110) == 0.5
    assert cosine(0b0011, 0b1100) == 0


@given(st.integers(1, 2**400))
def test_equal_sets_have_a_cosine_of_exactly_one(features):
    assert cosine(features, features) == 1


@pytest.mark.parametrize("text", ["=84\n", "x", "", "one two three four five six", "\ud800\x00", page(1)])
def test_equal_texts_are_exactly_alike(text):
    assert likeness(text, text) == 1


def test_texts_are_alike_by_the_share_of_trigrams_they_have_in_common():
    # abc bcd cde, and bcd cde def: two of three each.
    assert likeness("abcde", "bcdef") == pytest.approx(2 / 3)
    assert likeness("=84\n", "=97\n") == 0
    assert likeness("x", "y") == likeness("", "y") == 0


@given(st.text(max_size=60))
def test_places_are_those_of_one_run_after_another(text):
    levelled = " ".join(text.lower().split()).ljust(3, "\0")
    codes = [ord(character) % 1024 for character in levelled]
    sums = (sum(map(int.__mul__, FACTORS, codes[at : at + 3])) for at in range(len(codes) - 2))
    assert NGRAMS.embed(text) == sum({1 << PLACES - 1 - (each >> SHIFT) % PLACES for each in sums})


@pytest.mark.parametrize("seed", range(5))
def test_long_texts_are_alike_as_their_sets_of_trigrams_are_but_for_what_meets(seed):
    one, other = page(seed), page(seed + 100)
    half = one[: len(one) // 2] + other[len(other) // 2 :]
    exactly, found = [], []
    for text in (other, half, one.replace("a", "o", 2), one):
        a, b = grams(one), grams(text)
        exact = len(a & b) / (len(a) * len(b)) ** 0.5
        exactly.append(exact)
        found.append(likeness(one, text))
        # One run in eleven that only one of them has falls on a place of the other's.
        assert exact - 0.02 <= found[-1] <= exact + 0.1 * (1 - exact) + 0.02
    for measure in (exactly, found):
        assert measure[0] < 0.65 < measure[1] < 0.9 < measure[2] < measure[3] == 1


def test_few_runs_of_a_page_meet_at_one_place():
    pages = [page(seed) for seed in range(20)]
    kept = sum(NGRAMS.embed(text).bit_count() for text in pages) / sum(len(grams(text)) for text in pages)
    # A page has about 735: by chance 8192 (1 - exp(-735 / 8192)) places.
    assert kept > 0.95


def test_scripts_of_many_characters_are_told_apart():
    one, other = "首先把两个数相加然后减去一", "猜测并检验所有小素数直到合适"
    assert likeness(one, one + "。") > 0.9
    assert likeness(one, other) < 0.1


def test_case_and_white_space_make_no_difference():
    assert likeness("Paris is  in\nFrance", " paris is in france") == 1


def test_sets_are_the_same_in_every_process():
    code = "from treeroll.similarity.registry import get; print(get('ngrams').embed('add the two numbers'))"
    found = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={"PYTHONHASHSEED": seed, "PYTHONPATH": ":".join(sys.path)},
            capture_output=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert found == {f"{NGRAMS.embed('add the two numbers')}\n".encode()}


def test_a_misspelt_embedder_is_refused_with_those_that_exist():
    with pytest.raises(InvalidInput, match="unknown embedder 'ngram'; choose one of ngrams"):
        registry.get("ngram")
