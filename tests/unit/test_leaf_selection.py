"""Which leaves of a tree are trained on."""

import random
from typing import Any, cast

import numpy as np
import pytest

from treeroll.client import LeafSelection, select_leaves
from treeroll.client.likeness import cosines
from treeroll.client.records import Sample
from treeroll.errors import InvalidInput

TEXTS = ("first add, then divide", "guess the number", "draw a picture of it")


class Leaf:
    """The columns of a sample that selection reads."""

    def __init__(self, tree: str, path: str, reward: float | None, answer: int, group: int = 0) -> None:
        self.tree_id, self.reward, self.group = tree, reward, group
        self.sample_id = f"{tree}:{path}"
        self.path_node_ids = [f"{tree}:{path[: end + 1]}" for end in range(0, len(path), 2)]
        self.completion_ids = np.array([answer], np.int32)
        self.completion_text = TEXTS[answer % len(TEXTS)]


def leaves(rewards: list[float | None], tree: str = "t", chains: int = 1, answers: int = 1000) -> list[Sample]:
    made = [Leaf(tree, f"{place % chains}.{place}", reward, place % answers) for place, reward in enumerate(rewards)]
    return cast(list[Sample], made)


def names(samples: list[Sample]) -> list[str]:
    return [sample.sample_id for sample in samples]


def rewards(samples: list[Sample]) -> list[Any]:
    return [sample.reward for sample in samples]


def test_a_tree_gives_as_many_leaves_as_asked_for_in_the_order_they_came() -> None:
    tree = leaves([0, 1] * 15)
    kept = select_leaves(tree, LeafSelection(16))
    assert len(kept) == 16
    assert [sample for sample in tree if sample in kept] == kept


def test_one_correct_leaf_is_kept_whatever_the_draw() -> None:
    for place in range(30):
        tree = leaves([float(other == place) for other in range(30)])
        assert sum(rewards(select_leaves(tree, LeafSelection(2)))) == 1


def test_the_others_are_drawn_evenly_over_trees() -> None:
    counts = np.zeros(10)
    for tree in range(2000):
        for sample in select_leaves(leaves([0] * 10, f"t{tree}"), LeafSelection(3)):
            counts[int(sample.completion_ids[0])] += 1
    # 600 each; a binomial count with p = .3 strays 20.5 from it.
    assert abs(counts - 600).max() < 5 * 20.5


def test_balanced_shares_of_right_and_wrong_leaves_come_first() -> None:
    tree = leaves([1] * 4 + [0] * 26)
    assert sorted(rewards(select_leaves(tree, LeafSelection(8, balance=0.5)))) == [0] * 4 + [1] * 4
    assert sorted(rewards(select_leaves(tree, LeafSelection(30, balance=0.5)))) == [0] * 26 + [1] * 4
    kept = rewards(select_leaves(tree, LeafSelection(9, balance=0.25)))  # two of each, five of the rest
    assert kept.count(1) >= 2
    assert kept.count(0) >= 2


def test_chains_give_so_many_leaves_each() -> None:
    kept = names(select_leaves(leaves([0] * 10, chains=2), LeafSelection(3, chains=True)))
    assert [name[2] for name in kept].count("0") == [name[2] for name in kept].count("1") == 3


def test_labelled_leaves_belong_to_their_chain_wherever_they_were_started() -> None:
    # Two chains, and for each of them two more leaves: one behind it, and one that was drawn from the prompt.
    paths = {"0.0": 1, "0.1": 1, "1.0": 2, "1.1": 2, "2.0": 1, "3.0": 2}
    for tree in ("t", "u"):
        grown = cast(list[Sample], [Leaf(tree, path, 0.0, 0, group) for path, group in paths.items()])
        for seed in range(5):
            kept = names(select_leaves(grown, LeafSelection(2, chains=True, seed=seed)))
            assert sorted(paths[name[2:]] for name in kept) == [1, 1, 2, 2]


def test_chains_of_different_trees_never_meet() -> None:
    both = cast(list[Sample], [Leaf(tree, f"{place}.0", 0.0, 0, 1) for tree in "tu" for place in range(3)])
    assert len(select_leaves(both, LeafSelection(2, chains=True))) == 4


def test_a_tree_with_fewer_scored_leaves_gives_them_all_and_none_unscored() -> None:
    assert rewards(select_leaves(leaves([1, None, 0]), LeafSelection(16))) == [1, 0]
    assert select_leaves(leaves([None]), LeafSelection(16)) == []


def test_duplicate_answers_are_dropped_if_asked() -> None:
    tree = leaves([0] * 12, answers=3)
    assert len(select_leaves(tree, LeafSelection(12))) == 12
    kept = select_leaves(tree, LeafSelection(12, drop_duplicates=True))
    assert sorted(int(sample.completion_ids[0]) for sample in kept) == [0, 1, 2]


def test_trees_are_selected_from_one_by_one() -> None:
    both = leaves([0, 1] * 4, "a") + leaves([1, 1, 0] * 3, "b")
    selection = LeafSelection(3, balance=0.3)
    alone = names(select_leaves(both[:8], selection)) + names(select_leaves(both[8:], selection))
    assert names(select_leaves(both, selection)) == alone


def test_the_choice_depends_on_the_tree_and_the_seed_not_on_the_order_of_leaves() -> None:
    tree = leaves([0, 1] * 10)
    shuffled = random.Random(3).sample(tree, len(tree))
    kept = set(names(select_leaves(tree, LeafSelection(5))))
    assert set(names(select_leaves(shuffled, LeafSelection(5)))) == kept
    assert set(names(select_leaves(tree, LeafSelection(5, seed=1)))) != kept


def test_diverse_leaves_say_different_things() -> None:
    tree = leaves([0] * 12)
    for seed in range(5):
        kept = select_leaves(tree, LeafSelection(3, diverse="ngrams", seed=seed))
        assert {sample.completion_text for sample in kept} == set(TEXTS)
    shuffled = random.Random(1).sample(tree, len(tree))
    assert set(names(select_leaves(shuffled, LeafSelection(3, diverse="ngrams", seed=4)))) == set(names(kept))


def test_diverse_leaves_go_with_shares_and_chains() -> None:
    tree = leaves([1, 0, 0, 0, 0, 0])
    assert 1 in rewards(select_leaves(tree, LeafSelection(3, diverse="ngrams")))
    assert sorted(rewards(select_leaves(tree, LeafSelection(4, balance=0.25, diverse="ngrams")))) == [0, 0, 0, 1]
    assert len(select_leaves(leaves([0] * 12, chains=2), LeafSelection(2, chains=True, diverse="ngrams"))) == 4


def letters(texts: list[str]) -> list[list[float]]:
    """A model of a trainer's own: how often each letter is in a text."""
    return [[float(text.count(letter)) for letter in "abcdefghijklmnopqrstuvwxyz"] for text in texts]


def test_a_model_of_one_s_own_may_say_what_is_diverse() -> None:
    tree = leaves([0] * 12)
    calls: list[int] = []

    def encode(texts: list[str]) -> Any:
        calls.append(len(texts))
        return np.array(letters(texts), np.float32)

    for seed in range(5):
        kept = select_leaves(tree, LeafSelection(3, diverse=encode, seed=seed))
        assert {sample.completion_text for sample in kept} == set(TEXTS)
    assert calls == [12] * 5
    shuffled = random.Random(1).sample(tree, len(tree))
    assert set(names(select_leaves(shuffled, LeafSelection(3, diverse=encode, seed=4)))) == set(names(kept))
    assert 1 in rewards(select_leaves(leaves([1, 0, 0, 0]), LeafSelection(2, diverse=letters)))
    assert select_leaves(leaves([None]), LeafSelection(2, diverse=letters)) == []


def test_what_a_model_rounds_otherwise_in_another_batch_chooses_nothing() -> None:
    tree, noise = leaves([0] * 12), np.random.default_rng(5)

    def encode(texts: list[str]) -> Any:
        return np.array(letters(texts)) + noise.normal(size=(len(texts), 26)) * 1e-7

    for seed in range(5):
        kept = [names(select_leaves(tree, LeafSelection(4, diverse=made, seed=seed))) for made in (letters, encode)]
        assert kept[0] == kept[1]


def test_cosines_are_those_of_the_model_and_none_is_negative() -> None:
    vectors = {"a": [1, 0], "b": [3, 4], "c": [-1, 0], "d": [0, 0]}
    found = cosines(["a", "b", "c", "d"], lambda texts: [vectors[text] for text in texts])
    assert found == [[1, 0.6, 0, 0], [0.6, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 0]]


@pytest.mark.parametrize(
    ("made", "sentence"),
    [
        ([[1.0]], r"diverse must turn 2 texts into as many vectors, and returned an array of shape \(1, 1\)"),
        ([1.0, 2.0], r"returned an array of shape \(2,\)"),
        ([[1.0], [float("nan")]], "diverse returned a vector with a number that is not finite"),
    ],
)
def test_a_model_that_returns_something_else_is_refused(made: Any, sentence: str) -> None:
    with pytest.raises(InvalidInput, match=sentence):
        select_leaves(leaves([0, 0]), LeafSelection(1, diverse=lambda texts: made))


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"keep": 0}, "keep must be 1 or more leaves, got 0"),
        ({"keep": 4, "balance": 0.6}, "balance must be 0 to 0.5"),
        ({"keep": 4, "balance": float("nan")}, "balance must be 0 to 0.5"),
        ({"keep": 4, "balance": 0.5, "chains": True}, "chains=True selects at random; it does not go with balance=0.5"),
        ({"keep": 4, "correct": float("nan")}, "correct must be a finite reward, got nan"),
        ({"keep": 4, "diverse": "oracle"}, "unknown embedder 'oracle'; choose one of ngrams"),
    ],
)
def test_settings_that_cannot_be_meant_are_refused(values: Any, sentence: str) -> None:
    with pytest.raises(InvalidInput, match=sentence):
        LeafSelection(**values)
