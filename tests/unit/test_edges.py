"""Edges as training units. Credit of the binary tree: computed by the reference."""

import pytest
from tests.support.credit import BINARY, credit_tree
from tests.support.delivered import delivered, token_ids
from tests.support.trees import PROMPT

from treeroll.client import edge_samples
from treeroll.client.columns import SAMPLE_SCHEMA, samples_table
from treeroll.client.tensors import padded
from treeroll.errors import InvalidInput


def test_every_edge_with_credit_is_a_sample_of_its_own_tokens() -> None:
    found = {edge.sample_id: edge.advantages for edge in edge_samples(delivered(BINARY, "spo"))}
    assert {name: set(values.tolist()) for name, values in found.items() if values is not None} == {
        "t0:0": {0.25},
        "t0:0.0": {-0.25},
        "t0:0.0.0": {0.5},
        "t0:0.0.1": {-0.5},
        "t0:0.1": {0.25},
        "t0:1": {-0.25},
        "t0:1.0": {-0.25},
        "t0:1.1": {0.25},
        "t0:1.1.0": {-0.5},
        "t0:1.1.1": {0.5},
    }
    assert list(found) == sorted(found)  # depth first; 0.1.0, 0.1.1, 1.0.0 and 1.0.1 have no credit


def test_its_query_is_all_that_comes_before() -> None:
    edge = edge_samples(delivered(BINARY, "spo"))[2]
    assert edge.prompt_ids.tolist() == [*PROMPT, *token_ids(1, 10), *token_ids(2, 10)]
    assert edge.completion_ids.tolist() == token_ids(3, 10)
    assert (edge.prompt_text, edge.completion_text) == ("Compute<1><2>", "<3>")
    assert edge.logprobs.tolist() == [-1.5] * 10
    assert edge.model_mask.tolist() == edge.loss_weights.tolist() == [1] * 10
    assert (edge.path_node_ids, edge.path_offsets.tolist()) == (["t0:0.0.0"], [0])
    assert (edge.reward, edge.path_weight) == (1.0, 0.125)


def test_reward_and_weight_are_those_of_the_leaves_below() -> None:
    first = edge_samples(delivered(BINARY, "spo"))[0]
    assert (first.reward, first.path_weight, first.reward_status) == (0.75, 0.5, "ok")
    assert (first.index, first.group_size, first.group_id) == (0, 10, "t0")
    assert (first.stop_reason, first.is_truncated, first.min_weight_version) == ("", False, 3)


def test_segments_between_forks_are_one_edge() -> None:
    tree = credit_tree(["0000", "0010", "1000", "1100"], [1, 0, 0, None])
    found = edge_samples(delivered(tree, "spo"))
    assert [edge.path_node_ids for edge in found] == [
        ["t0:0", "t0:0.0"],
        ["t0:0.0.0", "t0:0.0.0.0"],
        ["t0:0.0.1", "t0:0.0.1.0"],
        ["t0:1", "t0:1.0", "t0:1.0.0", "t0:1.0.0.0"],  # the leaf beside it has no reward
    ]
    assert [edge.path_offsets.tolist() for edge in found] == [[0, 10], [0, 10], [0, 10], [0, 10, 20, 30]]


def test_every_token_is_trained_on_once() -> None:
    edges = edge_samples(delivered(BINARY, "spo"))
    arrays = padded(edges, whiten=True)
    assert arrays["completion_ids"].shape == (10, 10)
    assert len(set(arrays["completion_ids"].ravel().tolist())) == 100
    assert arrays["advantages"].mean() == pytest.approx(0, abs=1e-6)
    assert padded(edges, shared_prefixes="once")["loss_weights"].tolist() == [[1] * 10] * 10
    assert samples_table(edges).schema.equals(SAMPLE_SCHEMA)


def test_a_tree_without_contrast_has_no_edges() -> None:
    assert edge_samples(delivered(credit_tree(["00", "01", "1"], [1, 1, 1]), "spo")) == []
    assert edge_samples(delivered(credit_tree(["0", "1"], [None, None]), "spo")) == []


def test_credit_of_whole_paths_has_no_edges() -> None:
    with pytest.raises(InvalidInput, match=r"^leaves below node t0:0 have different credit .* spo or treerl"):
        edge_samples(delivered(BINARY, "grpo"))
