"""Batches: flattening, padding, files; no service needed."""

import math
from pathlib import Path
from typing import Any, cast

import numpy as np
import pyarrow.parquet as pq
import pytest
from tests.support.trees import failed_tree, sample_tree

from treeroll.client.batch import BatchData, Failure
from treeroll.client.credit import RewardReports
from treeroll.client.leased_trees import LeasedTrees
from treeroll.client.stream import BatchOptions
from treeroll.client.tensors import padded
from treeroll.errors import InvalidInput
from treeroll.pb.v1 import common_pb2, rollout_pb2


def batch_of(*trees: common_pb2.Tree) -> BatchData:
    deliveries = [
        rollout_pb2.Delivery(lease_id=f"l{place}", delivery_seq=place, times_delivered=1, tree=tree)
        for place, tree in enumerate(trees, 1)
    ]
    return BatchData(LeasedTrees(cast(Any, None), deliveries, RewardReports(cast(Any, None), "r")))


def two_trees() -> BatchData:
    return batch_of(sample_tree("t0"), failed_tree("t1", "b"), sample_tree("t2", "c"))


def test_samples_failures_and_deliveries() -> None:
    batch = two_trees()
    assert len(batch) == 4
    assert [sample.sample_id for sample in batch] == ["t0:0.0", "t0:0.1", "t2:0.0", "t2:0.1"]
    assert [tree.tree_id for tree in batch.trees] == ["t0", "t2"]
    assert batch.failures == [Failure("b", "t1", "prompt is too long")]
    assert [(d.tree_id, d.lease_id, d.delivery_seq) for d in batch.deliveries] == [
        ("t0", "l1", 1),
        ("t1", "l2", 2),
        ("t2", "l3", 3),
    ]
    assert repr(batch) == "<BatchData: 4 samples of 2 trees, 1 failures>"


def test_prompts_are_padded_left_and_completions_right() -> None:
    short = sample_tree("t2")
    short.nodes[0].token_ids = short.nodes[0].token_ids[:4]
    arrays = batch_of(sample_tree("t0"), short).to_numpy(pad_id=9)
    assert arrays["prompt_ids"].tolist() == [[11, 12, 13], [11, 12, 13], [9, 9, 11], [9, 9, 11]]
    assert arrays["prompt_mask"].tolist()[2] == [0, 0, 1]
    assert arrays["completion_ids"].tolist()[:2] == [[21, 22, 31, 32, 33], [21, 22, 41, 9, 9]]
    assert arrays["sampling_per_token_logps"].tolist()[1] == [-0.5, -0.5, -1.5, 0.0, 0.0]
    assert arrays["attention_mask"].tolist()[1] == [1, 1, 1, 1, 1, 1, 0, 0]
    assert arrays["loss_weights"].tolist()[1] == [1, 1, 1, 0, 0]
    assert arrays["group_index"].tolist() == [0, 0, 1, 1]


def test_an_observation_is_seen_and_not_trained_on() -> None:
    """TRL takes attention from prompt_mask and completion_mask, and its loss from completion_mask * tool_mask."""
    tree = sample_tree()
    leaf = next(node for node in tree.nodes if node.number == 2)
    leaf.observation_tokens = 2
    arrays = batch_of(tree).to_numpy()
    assert arrays["loss_mask"].tolist() == [[1, 1, 1, 0, 0], [0, 0, 0, 0, 0]]
    assert arrays["completion_mask"].tolist() == [[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]]
    assert (arrays["completion_mask"] * arrays["tool_mask"]).tolist() == arrays["loss_mask"].tolist()
    both = np.concatenate([arrays["prompt_mask"], arrays["completion_mask"]], axis=1)
    assert arrays["attention_mask"].tolist() == both.tolist()
    assert arrays["position_ids"].tolist() == [[0, 1, 2, 3, 4, 5, 6, 7], [0, 1, 2, 3, 4, 5, 0, 0]]


def test_temperatures_are_those_of_branches_where_logprobs_are_of_what_was_sampled_from() -> None:
    tree = sample_tree()
    tree.nodes[2].temperature = 0.75  # the leaf 0.1
    tree.nodes[3].temperature = 0.0  # greedy: engines give its logprobs at 1
    assert batch_of(tree).to_numpy()["temperatures"].tolist() == [[0.5, 0.5, 1, 1, 1], [0.5, 0.5, 0.75, 1, 1]]
    assert [sample.temperatures.tolist() for sample in batch_of(tree)] == [[0.5, 0.5, 0, 0, 0], [0.5, 0.5, 0.75]]
    tree.logprobs_mode = "raw"
    assert (batch_of(tree).to_numpy()["temperatures"] == 1).all()


def test_verls_names_are_for_the_same_arrays() -> None:
    ours, theirs = two_trees().to_numpy(pad_id=9), two_trees().to_numpy(pad_id=9, names="verl")
    assert {
        "prompts",
        "responses",
        "response_mask",
        "rollout_log_probs",
        "old_log_probs",
        "advantages",
    } <= theirs.keys()
    assert not {"prompt_ids", "completion_mask", "loss_mask", "tool_mask"} & theirs.keys()
    assert (theirs["response_mask"] == ours["loss_mask"]).all()
    assert (theirs["input_ids"] == np.concatenate([ours["prompt_ids"], ours["completion_ids"]], axis=1)).all()
    assert theirs["input_ids"].shape == theirs["attention_mask"].shape == theirs["position_ids"].shape
    with pytest.raises(InvalidInput, match="names must be 'trl' or 'verl', got 'skyrl'"):
        two_trees().to_numpy(names=cast(Any, "skyrl"))


def test_unscored_samples_are_masked_and_their_reward_is_nan() -> None:
    arrays = two_trees().to_numpy()
    assert arrays["loss_mask"].tolist()[:2] == [[1, 1, 1, 1, 1], [0, 0, 0, 0, 0]]
    assert arrays["completion_mask"].tolist()[:2] == [[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]]
    assert arrays["advantages"].tolist()[:2] == [[0.25, 0.25, -1.5, -1.5, -1.5], [0, 0, 0, 0, 0]]
    assert arrays["rewards"][0] == 1.0
    assert math.isnan(arrays["rewards"][1])
    assert arrays["path_weight"].tolist() == [0.5] * 4
    assert two_trees().to_numpy(mask_unscored=False)["loss_mask"].tolist()[1] == [1, 1, 1, 0, 0]


def test_tensors_have_the_dtypes_of_the_contract() -> None:
    torch = pytest.importorskip("torch")
    tensors = two_trees().to_torch()
    floats = {"sampling_per_token_logps", "old_per_token_logps", "temperatures", "advantages", "loss_weights"}
    floats |= {"rewards", "path_weight"}
    for name, tensor in tensors.items():
        assert tensor.dtype == (
            torch.float32 if name in floats else torch.bool if name == "is_truncated" else torch.int64
        )
    assert tensors["prompt_ids"].shape == (4, 3)
    assert tensors["advantages"].shape == tensors["completion_ids"].shape == (4, 5)


def test_nothing_to_train_on_is_an_error_not_a_nan() -> None:
    with pytest.raises(InvalidInput, match="every tree of this batch failed"):
        batch_of(failed_tree("t1", "b")).to_numpy()
    with pytest.raises(InvalidInput):
        padded([])


def test_parquet_holds_the_samples_and_no_unfinished_file_stays(tmp_path: Path) -> None:
    two_trees().to_parquet(tmp_path / "samples.parquet")
    assert [path.name for path in tmp_path.iterdir()] == ["samples.parquet"]
    table = pq.read_table(tmp_path / "samples.parquet")
    assert table["sample_id"].to_pylist() == ["t0:0.0", "t0:0.1", "t2:0.0", "t2:0.1"]
    assert np.asarray(table["completion_ids"][0].as_py()).tolist() == [21, 22, 31, 32, 33]
    assert table.schema.metadata[b"treeroll.schema_version"] == b"1"


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"trees": 0}, "trees must be a whole number of 1 or more"),
        ({"lease_s": 0.5}, "lease_s must be a number from 1 to 3600"),
        ({"lease_s": math.nan}, "lease_s must be a number from 1 to 3600"),
        ({"max_wait_s": -1.0}, "max_wait_s must be a number of 0 or more"),
        ({"group": ""}, "must have a name"),
    ],
)
def test_options_out_of_range_are_refused(options: dict[str, Any], sentence: str) -> None:
    with pytest.raises(InvalidInput, match=sentence):
        BatchOptions(**options)
