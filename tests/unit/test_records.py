"""Trees flattened to nodes and samples, and their Arrow tables."""

import dataclasses
import json
import pickle

import numpy as np
import pyarrow as pa
import pytest
from tests.support.trees import failed_tree, sample_tree

from treeroll.client.columns import NODE_SCHEMA, SAMPLE_SCHEMA, nodes_table, samples_table
from treeroll.client.records import Node, Reward, Sample, TreeRecord, nodes_of, samples_of
from treeroll.errors import BrokenInvariant
from treeroll.pb.v1 import common_pb2

DESIGN_NODE = """
    node_id tree_id parent_id depth sibling_index token_start token_ids logprobs logprobs_mode weight_versions
    temperature top_p top_k branch_reason decision status stop_reason replica_id incarnation attempt
    cached_tokens started_at finished_at rewards value n_leaves tin tout
"""
DESIGN_SAMPLE = """
    schema_version sample_id tree_id task_id group_id epoch index group_size n_scored n_censored prompt_ids
    completion_ids model_mask prompt_text completion_text logprobs logprobs_mode temperature top_p top_k
    reward rewards reward_status advantages path_node_ids path_offsets path_weight loss_weights
    min_weight_version max_weight_version staleness status stop_reason is_truncated tokenizer_hash extra
"""


def test_the_fields_of_the_design_are_there() -> None:
    assert set(DESIGN_NODE.split()) <= {column.name for column in dataclasses.fields(Node)}
    assert set(DESIGN_SAMPLE.split()) <= {column.name for column in dataclasses.fields(Sample)}


def test_tables_have_one_column_per_field_in_the_same_order() -> None:
    assert NODE_SCHEMA.names == [column.name for column in dataclasses.fields(Node)]
    assert SAMPLE_SCHEMA.names == [column.name for column in dataclasses.fields(Sample)]


def test_a_sample_is_the_concatenation_of_its_path() -> None:
    first, second = samples_of(sample_tree())
    assert first.prompt_ids.tolist() == [11, 12, 13]
    assert first.completion_ids.tolist() == [21, 22, 31, 32, 33]
    assert first.logprobs.tolist() == [-0.5, -0.5, -1.0, -1.0, -1.0]
    assert first.completion_text == "<1><2>"
    assert first.model_mask.tolist() == [1] * 5
    assert first.loss_weights.tolist() == [1.0] * 5
    assert (first.sample_id, first.path_node_ids) == ("t0:0.0", ["t0:0", "t0:0.0"])
    assert first.path_offsets.tolist() == [0, 2]
    assert second.completion_ids.tolist() == [21, 22, 41]
    assert second.path_offsets.tolist() == [0, 2]


def test_node_advantages_are_spread_over_tokens_and_absent_without_a_reward() -> None:
    first, second = samples_of(sample_tree())
    assert first.advantages is not None
    assert first.advantages.tolist() == [0.25, 0.25, -1.5, -1.5, -1.5]
    assert first.advantages.dtype == np.float32
    assert (first.reward, first.rewards, first.reward_status) == (1.0, {"math": 1.0}, "ok")
    assert (second.advantages, second.reward, second.rewards, second.reward_status) == (None, None, {}, "missing")


def test_entropies_are_those_of_the_path_and_empty_where_a_run_asked_for_none() -> None:
    tree = sample_tree()
    assert [sample.entropies.tolist() for sample in samples_of(tree)] == [[], []]
    for node in tree.nodes:
        if node.number:
            node.entropies = np.arange(len(node.logprobs) // 4, dtype="<f4").tobytes()
    assert [sample.entropies.tolist() for sample in samples_of(tree)] == [[0, 1, 0, 1, 2], [0, 1, 0]]
    assert samples_table(samples_of(tree))["entropies"].to_pylist() == [[0, 1, 0, 1, 2], [0, 1, 0]]


def test_advantages_of_one_sample_may_be_changed_without_touching_another() -> None:
    tree = sample_tree()
    tree.leaves[1].CopyFrom(tree.leaves[0])
    tree.leaves[1].leaf = 3
    first, second = samples_of(tree)
    assert first.advantages is not None
    assert second.advantages is not None
    first.advantages *= 2
    assert first.advantages.tolist() == [0.5, 0.5, -3.0, -3.0, -3.0]
    assert second.advantages.tolist() == [0.25, 0.25, -1.5]


def test_a_sample_that_leaves_its_process_takes_its_own_tokens_only() -> None:
    _, second = samples_of(sample_tree())
    copied = pickle.loads(pickle.dumps(second))  # noqa: S301 - our own
    assert copied.completion_ids.tolist() == [21, 22, 41]
    assert copied.completion_ids.base is None
    assert (copied.sample_id, copied.reward_status) == ("t0:0.1", "missing")


def test_group_columns() -> None:
    first, second = samples_of(sample_tree(epoch=4))
    assert [sample.index for sample in (first, second)] == [0, 1]
    assert (first.group_id, first.group_size, first.n_scored, first.n_censored, first.epoch) == ("t0", 2, 1, 2, 4)
    assert (first.stop_reason, first.is_truncated) == ("eos", False)
    assert (second.stop_reason, second.is_truncated) == ("length", True)
    assert (first.status, first.answer, first.extra, first.tokenizer_hash) == ("complete", "5", {"level": 2}, "abc")


def test_a_sample_has_the_label_of_its_leaf() -> None:
    tree = sample_tree()
    for node in tree.nodes:
        node.group = 10 + node.number
    numbers = [credit.leaf for credit in tree.leaves]
    assert [sample.group for sample in samples_of(tree)] == [10 + number for number in numbers]
    assert samples_table(samples_of(tree))["group"].to_pylist() == [10 + number for number in numbers]


def test_weight_versions_and_staleness() -> None:
    tree = sample_tree()
    leaf = next(node for node in tree.nodes if node.number == 2)
    del leaf.weight_versions[:]
    leaf.weight_versions.extend(
        [common_pb2.WeightSpan(version=4, tokens=1), common_pb2.WeightSpan(version=5, tokens=2)]
    )
    first, second = samples_of(tree, current_version=6)
    assert (first.min_weight_version, first.max_weight_version, first.staleness) == (3, 5, 3)
    assert (second.min_weight_version, second.max_weight_version, second.staleness) == (3, 3, 3)
    assert (first.staleness_newest, second.staleness_newest) == (1, 3)
    assert samples_of(tree)[0].staleness is None
    leaf.model = "another"  # whose tokens are not trained on, and whose versions are its own
    assert samples_of(tree, current_version=6)[0].max_weight_version == 3


def test_the_newest_version_of_a_scorer_counts() -> None:
    tree = sample_tree()
    leaf = next(node for node in tree.nodes if node.number == 2)
    leaf.rewards.insert(0, common_pb2.Reward(scorer="math", version=2, value=0.5))
    leaf.rewards.append(common_pb2.Reward(scorer="judge", version=1, error="timeout"))
    assert samples_of(tree)[0].rewards == {"math": 0.5, "judge": None}


def test_nodes_name_their_parents_by_path() -> None:
    nodes = nodes_of(sample_tree())
    assert [(node.node_id, node.parent_id) for node in nodes] == [
        ("t0:", None),
        ("t0:0", "t0:"),
        ("t0:0.1", "t0:0"),
        ("t0:0.0", "t0:0"),
    ]
    assert nodes[0].token_ids.tolist() == [11, 12, 13]
    assert nodes[3].rewards == [Reward("math", 1, 1.0, "")]
    assert (nodes[1].cached_tokens, nodes[1].value) == (None, None)


def test_nodes_have_the_temperature_of_their_branch_and_samples_that_of_the_run() -> None:
    tree = sample_tree()
    next(node for node in tree.nodes if node.number == 2).temperature = 0.75
    assert {node.path: node.temperature for node in nodes_of(tree)} == {"": 0.5, "0": 0.5, "0.0": 0.75, "0.1": 0.5}
    assert nodes_table(nodes_of(tree))["temperature"].to_pylist() == [0.5, 0.5, 0.5, 0.75]
    assert [sample.temperature for sample in samples_of(tree)] == [0.5, 0.5]


def test_samples_read_on_after_their_tree_was_completed() -> None:
    tree = sample_tree()
    for node in tree.nodes:
        node.ClearField("tin")
        node.ClearField("tout")
        if node.number > 1:
            node.sibling_index = 3 - node.number  # depth first is now another order than by number
    tree.nodes.sort(key=lambda node: node.number)
    first, second = samples_of(tree)
    record = TreeRecord.from_proto(tree, [first, second])
    assert [node.path for node in record.nodes] == ["", "0", "0.0", "0.1"]
    assert [node.text for node in record.nodes] == ["<0>", "<1>", "<3>", "<2>"]
    assert (first.sample_id, first.completion_text, first.stop_reason) == ("t0:0.1", "<1><2>", "eos")
    assert (second.sample_id, second.completion_text, second.stop_reason) == ("t0:0.0", "<1><3>", "length")


def test_a_failed_tree_has_no_samples() -> None:
    record = TreeRecord.from_proto(failed_tree("t1", "b"))
    assert (record.samples, record.nodes, record.status) == ([], [], "failed")


def broken(change: str) -> common_pb2.Tree:
    tree = sample_tree()
    nodes = {node.number: node for node in tree.nodes}
    if change == "logprobs are missing":
        nodes[2].logprobs = b""
    elif change == "half a token":
        nodes[2].token_ids, nodes[2].logprobs = nodes[2].token_ids[:-2], nodes[2].logprobs[:-2]
    elif change == "parent is missing":
        nodes[2].parent = 9
    elif change == "cycle":
        nodes[1].parent = 2
    elif change == "node is missing":
        tree.nodes.remove(nodes[3])
    elif change == "node is there twice":
        nodes[3].number = 2
    elif change == "leaf is no node":
        tree.leaves[0].leaf = 9
    elif change == "leaf is the root":
        tree.leaves[0].leaf = 0
    elif change == "one advantage too few":
        tree.leaves[0].advantages = tree.leaves[0].advantages[:8]
    else:
        del nodes[1].weight_versions[:]
        del nodes[2].weight_versions[:]
    return tree


@pytest.mark.parametrize(
    "change",
    [
        "logprobs are missing",
        "half a token",
        "parent is missing",
        "cycle",
        "node is missing",
        "node is there twice",
        "leaf is no node",
        "leaf is the root",
        "one advantage too few",
        "no version",
    ],
)
def test_a_tree_that_contradicts_itself_is_refused(change: str) -> None:
    with pytest.raises(BrokenInvariant):
        samples_of(broken(change))


def test_samples_table() -> None:
    table = samples_table(samples_of(sample_tree()))
    assert table.schema.equals(SAMPLE_SCHEMA, check_metadata=True)
    table.validate(full=True)
    first, second = table.to_pylist()
    assert first["completion_ids"] == [21, 22, 31, 32, 33]
    assert first["advantages"] == [0.25, 0.25, -1.5, -1.5, -1.5]
    assert (second["advantages"], second["reward"], second["staleness"]) == (None, None, None)
    assert first["rewards"] == [{"scorer": "math", "value": 1.0}]
    assert json.loads(first["extra"]) == {"level": 2}


def test_a_missing_list_in_front_does_not_shift_the_next() -> None:
    samples = samples_of(sample_tree())
    table = samples_table([samples[1], samples[0], samples[1]])
    assert table["advantages"].to_pylist() == [None, [0.25, 0.25, -1.5, -1.5, -1.5], None]


def test_nodes_table() -> None:
    table = nodes_table(nodes_of(sample_tree()))
    assert table.schema.equals(NODE_SCHEMA, check_metadata=True)
    table.validate(full=True)
    rows = table.to_pylist()
    assert rows[0]["logprobs"] == []
    assert rows[1]["weight_versions"] == [{"version": 3, "tokens": 2}]
    assert rows[3]["rewards"] == [{"scorer": "math", "version": 1, "value": 1.0, "error": ""}]


def test_empty_tables_keep_their_schema() -> None:
    assert samples_table([]).schema.equals(SAMPLE_SCHEMA)
    assert nodes_table([]).num_rows == 0
    assert pa.concat_tables([samples_table([]), samples_table(samples_of(sample_tree()))]).num_rows == 2


def test_people_can_see_what_a_sample_has() -> None:
    (sample, *_) = samples_of(sample_tree())
    columns = {column.name for column in dataclasses.fields(Sample)}
    assert columns <= set(dir(sample))
    assert "renew" in dir(sample)
