"""The reference that tells versions of weights apart, on paths that are decoded here token by token."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from tests.support.demo_weights import saved
from tests.support.rollouts import grown_trees
from transformers import AutoModelForCausalLM, PreTrainedModel

from treeroll.bench.publish import TOLERANCE
from treeroll.bench.weight_truth import Agreement, WeightTruth
from treeroll.client import Node, TreeRecord
from treeroll.demo import MODEL_DIR
from treeroll.records.fields import WeightSpan


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """A small model is not faster by more, and far slower on a machine with other work."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


class Versions:
    """The demo model, and the same after a step that tells on every token."""

    def __init__(self, folder: Path) -> None:
        self.directories = {1: saved(folder, 1, sureness=1 / 3)[0]}
        self.truth = WeightTruth(MODEL_DIR, self.directories)
        self.models = [self.model(), self.model()]
        self.models[1].load_state_dict(load_file(self.directories[1] / "model.safetensors"), strict=False)

    def model(self) -> PreTrainedModel:
        loaded: PreTrainedModel = AutoModelForCausalLM.from_pretrained(str(MODEL_DIR), dtype=torch.float32)
        return loaded

    def decode(self, ids: np.ndarray, makers: list[int]) -> np.ndarray:
        """Logprobs of ids[1:], where step i reads ids[i] and makes its KV with makers[i]."""
        past, found = None, []
        with torch.inference_mode():
            for at, version in enumerate(makers):
                row = torch.as_tensor(ids[at : at + 1].astype(np.int64))[None]
                out = self.models[version](input_ids=row, past_key_values=past, use_cache=True)
                past = out.past_key_values
                found.append(float(out.logits[0, -1].log_softmax(-1)[ids[at + 1]]))
        return np.array(found, np.float32)

    def check(self, tree: TreeRecord) -> Agreement:
        return self.truth.check(tree)


@pytest.fixture(scope="module")
def versions(tmp_path_factory: pytest.TempPathFactory) -> Versions:
    return Versions(tmp_path_factory.mktemp("weights"))


def one_path(nodes: int) -> tuple[TreeRecord, list[Node], np.ndarray]:
    """A tree of one path, its nodes behind the root, and all ids."""
    [tree] = grown_trees(1)
    known = {node.node_id: node for node in tree.nodes}
    path = [next(node for node in tree.nodes if node.depth == nodes)]
    while path[-1].parent_id is not None:
        path.append(known[path[-1].parent_id])
    path.reverse()
    return replace(tree, nodes=path), path[1:], np.concatenate([node.token_ids for node in path])


def said(node: Node, logprobs: np.ndarray, *versions: int, mixed: bool = False, cached: int | None = None) -> Node:
    """A node by whose tokens are of these versions, in equal parts, as decoded: logprobs[i] is of ids[i + 1]."""
    parts = np.array_split(np.arange(len(node.token_ids)), len(versions))
    spans = [WeightSpan(version, len(part)) for version, part in zip(versions, parts, strict=True)]
    own = logprobs[node.token_start - 1 :][: len(node.token_ids)]
    return replace(node, logprobs=own, weight_versions=spans, kv_mixed=mixed, cached_tokens=cached)


def through_a_change(versions: Versions) -> TreeRecord:
    """Two requests: one that runs through an update, and a fork of it that begins after it."""
    tree, (first, second, third), ids = one_path(3)
    change = second.token_start + -(-len(second.token_ids) // 2)
    kept = versions.decode(ids, [0] * (change - 1) + [1] * (len(ids) - change))
    anew = versions.decode(ids, [1] * (len(ids) - 1))
    return replace(
        tree,
        nodes=[
            tree.nodes[0],
            said(first, kept, 0, cached=0),
            said(second, kept, 0, 1, mixed=True),
            said(third, anew, 1, cached=0),
        ],
    )


def test_a_path_through_an_update_agrees_to_the_token(versions: Versions) -> None:
    tree = through_a_change(versions)
    found = versions.check(tree)
    _, first, second, third = tree.nodes
    assert (found.tokens, found.mixed_tokens) == (
        len(first.token_ids) + len(third.token_ids),
        len(second.token_ids),
    )
    assert max(found.worst, found.mixed_worst) < TOLERANCE
    assert found.other_weights > TOLERANCE * found.tokens


@pytest.mark.parametrize("wrong", ["a version", "a place", "no mark", "a mark"])
def test_a_label_that_is_wrong_is_seen(versions: Versions, wrong: str) -> None:
    tree = through_a_change(versions)
    root, first, second, third = tree.nodes
    if wrong == "a version":
        third = replace(third, weight_versions=[WeightSpan(0, len(third.token_ids))])
    elif wrong == "a place":
        [before, after] = second.weight_versions
        spans = [WeightSpan(0, before.tokens + 1), WeightSpan(1, after.tokens - 1)]
        second = replace(second, weight_versions=spans)
    elif wrong == "no mark":
        second = replace(second, kv_mixed=False)
    else:
        third = replace(third, kv_mixed=True, cached_tokens=None)
    found = versions.check(replace(tree, nodes=[root, first, second, third]))
    assert max(found.worst, found.mixed_worst) > TOLERANCE


def test_a_request_that_waited_through_an_update_read_kv_of_the_version_before(versions: Versions) -> None:
    tree, (first, second), ids = one_path(2)
    cached = second.token_start - 1
    waited = versions.decode(ids, [0] * cached + [1] * (len(ids) - 1 - cached))
    before = versions.decode(ids, [0] * (len(ids) - 1))
    nodes = [tree.nodes[0], said(first, before, 0, cached=0), said(second, waited, 1, mixed=True, cached=cached)]
    found = versions.check(replace(tree, nodes=nodes))
    assert found.mixed_tokens == len(second.token_ids)
    assert max(found.worst, found.mixed_worst) < TOLERANCE
    unread = replace(nodes[2], cached_tokens=0)
    assert versions.check(replace(tree, nodes=[*nodes[:2], unread])).mixed_worst > TOLERANCE


def test_a_request_that_waited_through_an_update_found_what_another_that_did_made_after_it(versions: Versions) -> None:
    tree, (first, second), ids = one_path(2)
    cached = (second.token_start - 1) // 32 * 32
    before = versions.decode(ids, [0] * (len(ids) - 1))
    distances = {}
    for older in (cached, 32, 0, 31):
        waited = versions.decode(ids, [0] * older + [1] * (len(ids) - 1 - older))
        nodes = [tree.nodes[0], said(first, before, 0, cached=0), said(second, waited, 1, mixed=True, cached=cached)]
        distances[older] = versions.check(replace(tree, nodes=nodes)).mixed_worst
    assert cached > 32, "the prefix has too few blocks to show this"
    assert max(distances[cached], distances[32], distances[0]) < TOLERANCE
    assert distances[31] > TOLERANCE, "versions do not change within a block"


def test_what_was_cut_counts_too_and_what_paths_share_counts_once(versions: Versions) -> None:
    [tree] = grown_trees(1)
    found = versions.check(tree)
    assert len({node.parent_id for node in tree.nodes}) < len(tree.nodes) - 1, "nothing forks"
    assert found.tokens == sum(len(node.token_ids) for node in tree.nodes[1:])
    assert versions.check(replace(tree, samples=[])).tokens == found.tokens
