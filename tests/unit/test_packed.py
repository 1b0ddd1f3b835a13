"""Packed rows of a tree by hand, and what cannot be packed."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from tests.support.trees import sample_tree

from treeroll.client import ClipRange
from treeroll.client.packed import packed
from treeroll.client.records import Sample, TreeRecord, samples_of
from treeroll.client.training import Training
from treeroll.errors import InvalidInput


def scored(tree_id: str = "t0") -> list[Sample]:
    """Prompt 11 12 13; 21 22 are shared; then 31 32 33 (credit .25 .25 -1.5 x 3) and 41 (credit -.5 -.5 2)."""
    tree = sample_tree(tree_id)
    tree.leaves[1].reward, tree.leaves[1].reward_status = 0.0, "ok"
    tree.leaves[1].advantages = np.array([-0.5, 2.0], "<f8").tobytes()
    return samples_of(tree)


def test_a_tree_is_one_row_and_each_token_is_in_it_once() -> None:
    (row,) = packed(scored())
    assert len(row) == 9
    assert row.input_ids.tolist() == [11, 12, 13, 21, 22, 31, 32, 33, 41]
    assert row.position_ids.tolist() == [0, 1, 2, 3, 4, 5, 6, 7, 5]
    assert row.tin.tolist() == [0, 0, 0, 0, 0, 1, 1, 1, 2]  # prompt and first node follow each other without a fork
    assert row.tout.tolist() == [3, 3, 3, 3, 3, 2, 2, 2, 3]
    assert row.predictor.tolist() == [-1, 0, 1, 2, 3, 4, 5, 6, 4]
    assert row.adv_pos.tolist() == [0, 0, 0, 0.25, 0.25, 0, 0, 0, 2]
    assert row.adv_neg.tolist() == [0, 0, 0, -0.5, -0.5, -1.5, -1.5, -1.5, 0]
    assert row.count.tolist() == row.loss_weights.tolist() == [0, 0, 0, 2, 2, 1, 1, 1, 1]
    assert row.temperature.tolist() == [1, 1, 1, *[0.5] * 6]
    assert (row.segment_start.tolist(), row.segment_parent.tolist()) == ([0, 5, 8, 9], [-1, 0, 0])
    assert (row.sample_segments.tolist(), row.sample_offsets.tolist()) == ([0, 1, 0, 2], [0, 2, 4])
    assert row.dense_mask()[8].tolist() == [True] * 5 + [False] * 3 + [True]


def test_columns_have_the_dtypes_of_the_contract() -> None:
    torch = pytest.importorskip("torch")
    (row,) = packed(scored())
    tensors = row.to_torch()
    floats = {"sampling_per_token_logps", "temperature", "adv_pos", "adv_neg", "loss_weights"}
    for name, tensor in tensors.items():
        wanted = torch.int64 if name in ("input_ids", "position_ids") else torch.int32
        assert tensor.dtype == (torch.float32 if name in floats else wanted)


def test_several_trees_may_share_a_row_and_do_not_see_each_other() -> None:
    samples = scored() + scored("t1") + scored("t2")
    assert [len(row) for row in packed(samples, trees_per_row=2)] == [18, 9]
    assert [len(row) for row in packed(samples, max_tokens=27, trees_per_row=4)] == [27]
    both = packed(samples, trees_per_row=2)[0]
    assert not both.dense_mask()[9:, :9].any()
    assert not both.dense_mask()[:9, 9:].any()
    assert both.predictor[9] == -1
    assert both.sample_index.tolist() == [0, 1, 2, 3]


def test_a_sample_nobody_scored_is_not_read() -> None:
    (row,) = packed(samples_of(sample_tree()))
    assert row.input_ids.tolist() == [11, 12, 13, 21, 22, 31, 32, 33]
    assert row.sample_index.tolist() == [0]


def test_a_node_without_tokens_is_no_segment() -> None:
    tree = sample_tree()
    tree.nodes[1].token_ids = tree.nodes[1].logprobs = b""
    tree.leaves[1].reward, tree.leaves[1].reward_status = 0.0, "ok"
    (row,) = packed(samples_of(tree))
    assert row.input_ids.tolist() == [11, 12, 13, 31, 32, 33, 41]
    assert row.predictor.tolist() == [-1, 0, 1, 2, 3, 4, 2]


def test_edges_are_trees_of_their_own() -> None:
    from treeroll.client import edge_samples

    tree = sample_tree()
    tree.leaves[1].reward, tree.leaves[1].reward_status = 0.0, "ok"
    tree.leaves[1].advantages = np.array([0.25, 2.0], "<f8").tobytes()
    rows = packed(edge_samples(TreeRecord.from_proto(tree)))
    assert [row.input_ids.tolist() for row in rows] == [
        [11, 12, 13, 21, 22],
        [11, 12, 13, 21, 22, 31, 32, 33, 41],
    ]


def without_prompt() -> list[Sample]:
    return [replace(sample, prompt_ids=sample.prompt_ids[:0]) for sample in scored()]


def shortened() -> list[Sample]:
    first, second = scored()
    return [first, replace(second, path_offsets=np.array([0, 1], np.int32))]


@pytest.mark.parametrize(
    ("samples", "options", "sentence"),
    [
        (scored, {"max_tokens": 7}, "sample t0:0.0 has 8 tokens, more than a row's max_tokens 7"),
        (scored, {"max_tokens": 0}, "max_tokens must be a whole number of 1 or more, got 0"),
        (scored, {"max_tokens": float("nan")}, "max_tokens must be a whole number of 1 or more, got nan"),
        (scored, {"max_tokens": 16.0}, "max_tokens must be a whole number"),
        (scored, {"trees_per_row": True}, "trees_per_row must be a whole number"),
        (scored, {"trees_per_row": 0}, "trees_per_row must be a whole number of 1 or more, got 0"),
        (scored, {"training": {"clip_range": ClipRange()}}, "clip_range is a sample's"),
        (scored, {"training": {"whitten": True}}, "there is no option 'whitten'"),
        (list, {}, "no samples to train on"),
        (without_prompt, {}, "sample t0:0.0 has no prompt, so nothing predicts its first token"),
        (shortened, {}, "node t0:0 has other tokens in sample t0:0.1 than in others"),
    ],
)
def test_what_cannot_be_packed_is_refused(samples: Any, options: Any, sentence: str) -> None:
    with pytest.raises(InvalidInput, match=sentence):
        packed(samples(), **options)


def test_a_batch_without_a_token_to_train_on_is_refused() -> None:
    tree = sample_tree()
    tree.leaves[0].ClearField("reward")
    tree.leaves[0].reward_status = "missing"
    with pytest.raises(InvalidInput, match="none of these 2 samples is trained on: nobody has scored them"):
        packed(samples_of(tree), training=Training(shared_prefixes="once"))
