"""What a batch trains on: confident tokens, shared prefixes, whitening; no service needed."""

from typing import Any

import numpy as np
import pytest
from tests.support.trees import sample_tree

from treeroll.client.records import Sample, samples_of
from treeroll.client.selection import LeafSelection
from treeroll.client.tensors import padded
from treeroll.client.weights import whitened
from treeroll.errors import InvalidInput
from treeroll.pb.v1 import common_pb2


def scored_tree(tree_id: str = "t0") -> common_pb2.Tree:
    """Leaf 0.0 has 5 tokens and credit .25 .25 -1.5 -1.5 -1.5, leaf 0.1 has 3 and .25 .25 2; 2 tokens are shared."""
    tree = sample_tree(tree_id)
    credit = tree.leaves[1]
    credit.reward, credit.reward_status = 0.0, "ok"
    credit.advantages = np.array([0.25, 2.0], "<f8").tobytes()
    return tree


def samples(*trees: common_pb2.Tree) -> list[Sample]:
    return [sample for tree in trees for sample in samples_of(tree)]


def test_whitening_is_over_the_tokens_that_are_trained_on() -> None:
    arrays = padded(samples(scored_tree(), sample_tree("t1")), whiten=True)
    values = np.array([0.25, 0.25, -1.5, -1.5, -1.5, 0.25, 0.25, 2.0, 0.25, 0.25, -1.5, -1.5, -1.5])
    expected = (values - values.mean()) / np.sqrt(values.var(ddof=1) + 1e-8)
    assert arrays["advantages"].dtype == np.float32
    assert arrays["advantages"][0] == pytest.approx(expected[:5], rel=1e-5)
    assert arrays["advantages"][1].tolist() == pytest.approx([*expected[5:8], 0, 0], rel=1e-5)
    assert arrays["advantages"][3].tolist() == [0] * 5  # nobody scored it
    trained = arrays["advantages"][arrays["loss_mask"] == 1]
    assert (trained.mean(), trained.std(ddof=1)) == pytest.approx((0, 1), abs=1e-6)


def test_unscored_samples_never_enter_the_statistics() -> None:
    both = samples(scored_tree(), sample_tree("t1"))
    kept = padded(both, whiten=True, mask_unscored=False)
    assert kept["advantages"].tolist() == padded(both, whiten=True)["advantages"].tolist()


@pytest.mark.parametrize(("mask", "expected"), [([[0, 0]], [[0.0, 0.0]]), ([[1, 0]], [[0.0, 0.0]])])
def test_whitening_one_token_or_none_gives_zero(mask: Any, expected: Any) -> None:
    assert whitened(np.array([[3.0, 4.0]], np.float32), np.array(mask)).tolist() == expected


def test_equal_advantages_whiten_to_zero() -> None:
    assert whitened(np.full((2, 3), 0.1, np.float32), np.ones((2, 3), np.int64)).tolist() == [[0.0] * 3] * 2


def test_confident_tokens_are_neither_trained_nor_whitened() -> None:
    # Shared tokens have probability exp(-.5) = .61, those of 0.0 exp(-1), that of 0.1 exp(-1.5).
    arrays = padded(samples(scored_tree()), max_prob=0.5, whiten=True)
    assert arrays["loss_mask"].tolist() == [[0, 0, 1, 1, 1], [0, 0, 1, 0, 0]]
    assert arrays["attention_mask"].tolist() == [[1] * 8, [1, 1, 1, 1, 1, 1, 0, 0]]
    values = np.array([-1.5, -1.5, -1.5, 2.0])
    expected = (values - values.mean()) / values.std(ddof=1)
    assert arrays["advantages"][0].tolist() == pytest.approx([0, 0, *expected[:3]])


def test_a_shared_prefix_may_count_once() -> None:
    assert padded(samples(scored_tree()))["loss_weights"].tolist() == [[1] * 5, [1, 1, 1, 0, 0]]
    once = padded(samples(scored_tree(), scored_tree("t1")), shared_prefixes="once")["loss_weights"]
    assert once.tolist() == [[0.5, 0.5, 1, 1, 1], [0.5, 0.5, 1, 0, 0]] * 2


def test_a_sample_that_is_not_trained_takes_no_share_of_its_prefix() -> None:
    assert padded(samples(sample_tree()), shared_prefixes="once")["loss_weights"][0].tolist() == [1] * 5
    kept = padded(samples(sample_tree()), shared_prefixes="once", mask_unscored=False)
    assert kept["loss_weights"].tolist() == [[0.5, 0.5, 1, 1, 1], [0.5, 0.5, 1, 0, 0]]


@pytest.mark.parametrize(
    ("weigh", "first", "second"),
    [("tokens", 1, 1), ("samples", 1 / 5, 1 / 3), ("trees", 1 / 2, 1 / 2)],
)
def test_what_counts_alike(weigh: Any, first: float, second: float) -> None:
    weights = padded(samples(scored_tree()), weigh=weigh)["loss_weights"]
    assert weights.tolist() == pytest.approx(np.array([[first] * 5, [second] * 3 + [0] * 2]))


def test_what_is_not_trained_on_takes_no_share_of_its_tree() -> None:
    assert padded(samples(sample_tree()), weigh="trees")["loss_weights"][0].tolist() == [1] * 5


def test_weights_may_be_folded_into_advantages() -> None:
    options: Any = {"shared_prefixes": "once", "weigh": "samples"}
    plain, folded = (
        padded(samples(scored_tree()), **options),
        padded(samples(scored_tree()), fold_weights=True, **options),
    )
    assert folded["advantages"].tolist() == (plain["advantages"] * plain["loss_weights"]).tolist()
    assert folded["loss_weights"].tolist() == [[1] * 5, [1, 1, 1, 0, 0]]
    assert plain["loss_weights"][0].tolist() == pytest.approx([0.1, 0.1, 0.2, 0.2, 0.2])


def test_selection_comes_first() -> None:
    arrays = padded(samples(scored_tree()), select=LeafSelection(1), shared_prefixes="once", whiten=True)
    assert arrays["rewards"].tolist() == [1.0]
    assert arrays["loss_weights"].tolist() == [[1] * 5]
    values = np.array([0.25, 0.25, -1.5, -1.5, -1.5])
    assert arrays["advantages"][0] == pytest.approx((values - values.mean()) / values.std(ddof=1))


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (
            {"whitten": True},
            "there is no option 'whitten' for what to train on; the options are mask_unscored, credit, select",
        ),
        ({"max_prob": 0.0}, "max_prob must be above 0 and at most 1, got 0.0"),
        ({"max_prob": 90}, "max_prob must be above 0 and at most 1, got 90"),
        ({"max_prob": "0.9"}, "max_prob must be above 0 and at most 1, got '0.9'"),
        ({"max_prob": float("nan")}, "max_prob must be above 0 and at most 1, got nan"),
        ({"mask_unscored": "false"}, "mask_unscored must be True or False, got 'false'"),
        ({"whiten": "no"}, "whiten must be True or False, got 'no'"),
        ({"whiten": None}, "whiten must be True or False, got None"),
        ({"fold_weights": 1}, "fold_weights must be True or False, got 1"),
        ({"pad_id": None}, "pad_id is None: this tokenizer has no padding"),
        ({"pad_id": 0.5}, "pad_id must be a whole number"),
        ({"pad_id": True}, "pad_id must be a whole number"),
        ({"credit": "grpo"}, "credit must be 'delivered' or 'tempo', got 'grpo'"),
        ({"weigh": "tasks"}, "weigh must be 'tokens', 'samples' or 'trees', got 'tasks'"),
        ({"shared_prefixes": "twice"}, "shared_prefixes must be 'each' or 'once', got 'twice'"),
    ],
)
def test_options_that_cannot_be_meant_are_refused(options: Any, sentence: str) -> None:
    with pytest.raises(InvalidInput, match=sentence):
        padded(samples(scored_tree()), **options)


def test_a_batch_without_a_scored_leaf_to_select_is_an_error() -> None:
    tree = sample_tree()
    del tree.leaves[0]
    with pytest.raises(InvalidInput, match="has no scored leaf to select"):
        padded(samples(tree), select=LeafSelection(4))
