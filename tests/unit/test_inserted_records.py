"""Text that a policy inserts: on the replica, in records, in samples and where its node is split."""

from array import array
from types import SimpleNamespace
from typing import Any, ClassVar

import numpy as np
import pytest

from treeroll.client.node import nodes_of
from treeroll.client.sample import samples_of
from treeroll.coordinator import records
from treeroll.coordinator.audit import tree_findings
from treeroll.coordinator.specs import check_inserts
from treeroll.coordinator.tool_runner import ToolRunner
from treeroll.core.growth.credit import credit_leaves
from treeroll.core.model.effects import PersistNode
from treeroll.core.model.events import SegmentReported
from treeroll.demo import MODEL_DIR
from treeroll.errors import InvalidInput
from treeroll.generator.detokenizer import Detokenizer
from treeroll.generator.sequence import Sequences
from treeroll.pb.v1 import common_pb2 as pb
from treeroll.pb.v1 import replica_pb2 as wire
from treeroll.policy.needs import Needs
from treeroll.records.assemble import complete
from treeroll.records.split import split_nodes
from treeroll.tokenizer import Tokenizer
from treeroll.tree.node import Content, Node, NodeStatus, Observation, Origin

PROMPT = [21, 22, 23]
TOKENIZER = Tokenizer.load(MODEL_DIR)


def int32(*ids: int) -> bytes:
    return np.asarray(ids, "<i4").tobytes()


def float32(*values: float) -> bytes:
    return np.asarray(values, "<f4").tobytes()


def started(grant: int, **fields: Any) -> wire.StartBranch:
    return wire.StartBranch(grant=grant, tree_id="t", prompt_tokens=3, **fields)


def test_a_replica_keeps_the_text_behind_the_prefix_and_forks_on_either_side_of_it() -> None:
    sequences = Sequences(Detokenizer(MODEL_DIR))
    first = sequences.open(
        started(1, prefix_ids=int32(*PROMPT), prefix_tokens=3, inserted_ids=int32(31, 32), inserted_text="in")
    )
    assert (first.ids.tolist(), first.tail(5)) == ([*PROMPT, 31, 32], "in")
    first.extend(array("i", [41, 42]), "go")
    behind = sequences.open(started(2, prefix_grant=1, prefix_tokens=7, inserted_ids=int32(51), inserted_text="!"))
    assert (behind.ids.tolist(), behind.tail(8)) == ([*PROMPT, 31, 32, 41, 42, 51], "ingo!")
    assert sequences.open(started(3, prefix_grant=1, prefix_tokens=3)).ids.tolist() == PROMPT


def test_a_split_behind_the_text_counts_its_characters_and_not_those_of_the_next_one() -> None:
    desk, sequences = ToolRunner(TOKENIZER), Sequences(Detokenizer(MODEL_DIR))
    hint, more, own = desk.encode("Hm. "), desk.encode("So: "), array("i", desk.encode("1+1=2").ids)
    first = sequences.open(
        started(1, prefix_ids=int32(*PROMPT), prefix_tokens=3, inserted_ids=hint.ids, inserted_text=hint.text)
    )
    first.extend(own, "1+1=2")
    cut = sequences.open(
        started(2, prefix_grant=1, prefix_tokens=10, cut_from=3, inserted_ids=more.ids, inserted_text=more.text)
    )
    assert cut.ids.tolist() == [*PROMPT, *array("i", hint.ids), *own[:3], *array("i", more.ids)]
    assert (cut.parent_chars, cut.tail(14)) == (len("Hm. 1+1"), "Hm. 1+1So: ")


def written(node: Node, token_ids: list[int], text: str) -> pb.Node:
    """The record of a node that an engine sampled these tokens of."""
    payload = pb.Node(
        token_ids=int32(*token_ids), logprobs=float32(*[-1.0] * len(token_ids)),
        entropies=float32(*[0.5] * len(token_ids)), weight_versions=[pb.WeightSpan(version=2, tokens=len(token_ids))],
    )  # fmt: skip
    report = SegmentReported("r", 1, 1, len(token_ids), text=text, payload=payload.SerializeToString(), cached_tokens=4)
    effect = PersistNode(SimpleNamespace(), node, report)  # type: ignore[arg-type]
    return pb.Node.FromString(records.node_record(effect))


def tree() -> pb.Tree:
    """A hint, three tokens and an answer, split behind two of the three."""
    hint, answer = Observation(int32(31, 32), "in"), Observation(int32(61), "=")
    first = Node(1, 0, 0, 1, 3, 6, status=NodeStatus.LEAF, origin=Origin(max_tokens=9))
    first.content = Content(inserted=hint, observation=answer)
    other = Node(2, 1, 1, 1, 7, 1, status=NodeStatus.LEAF)
    leaf = written(other, [43], "x")
    leaf.parent_chars = 4
    return pb.Tree(
        tree_id="t", status="complete", ledger=pb.Ledger(granted=4, spent=4), extra_json="{}",
        nodes=[pb.Node(token_ids=int32(*PROMPT)), written(first, [41, 42, 44], "abc"), leaf],
    )  # fmt: skip


def test_a_record_has_the_text_before_its_tokens_and_nobodys_weights_on_it() -> None:
    node = tree().nodes[1]
    assert np.frombuffer(node.token_ids, "<i4").tolist() == [31, 32, 41, 42, 44, 61]
    assert np.frombuffer(node.logprobs, "<f4").tolist() == [0, 0, -1, -1, -1, 0]
    assert np.frombuffer(node.entropies, "<f4").tolist() == [0, 0, 0.5, 0.5, 0.5, 0]
    assert (node.text, node.inserted_tokens, node.observation_tokens, node.max_tokens) == ("inabc=", 2, 1, 9)
    assert [span.tokens for span in node.weight_versions] == [3]
    assert node.recomputed_tokens == 1  # of a prefix of 5, the text included


def test_a_split_node_leaves_the_text_to_its_first_part_and_samples_mask_it() -> None:
    split = tree()
    split_nodes(split)
    head, tail = split.nodes[3], split.nodes[1]
    assert (head.inserted_tokens, head.text, [span.tokens for span in head.weight_versions]) == (2, "inab", [2])
    assert (tail.inserted_tokens, tail.observation_tokens, tail.text) == (0, 1, "c=")
    assert [span.tokens for span in tail.weight_versions] == [1]
    whole = tree()
    shape = records.shape_of(split)
    assert (shape.n_tokens, shape.weightless) == ([3, 1, 1, 2], [False, True, False, True])
    estimator: Any = SimpleNamespace()  # nothing is scored
    records.write_credit(whole, credit_leaves(shape, {}, estimator), {}, set())
    whole.has_cuts = True
    whole_again = pb.Tree.FromString(whole.SerializeToString())
    assert list(tree_findings(complete(whole_again))) == []
    first, second = samples_of(whole)
    assert first.completion_ids.tolist() == [31, 32, 41, 42, 44, 61]
    assert first.model_mask.tolist() == [0, 0, 1, 1, 1, 0]
    assert (second.completion_ids.tolist(), second.model_mask.tolist()) == ([31, 32, 41, 42, 43], [0, 0, 1, 1, 1])
    assert (first.completion_text, second.completion_text) == ("inabc=", "inabx")
    assert [(node.inserted_tokens, node.max_tokens) for node in nodes_of(whole)] == [
        (0, None),
        (0, 9),
        (0, None),
        (2, 9),
    ]


class Speaker:
    """A policy that inserts something."""

    name: ClassVar[str] = "speaker"

    def __init__(self, *inserts: str) -> None:
        self.needs = Needs(inserts=inserts)


def test_a_text_that_the_tokenizer_cannot_write_is_refused_by_name() -> None:
    check_inserts(SimpleNamespace(segment=Speaker(), branch=Speaker("Answer in 512 tokens.\n", "~")), TOKENIZER)  # type: ignore[arg-type]
    with pytest.raises(InvalidInput) as refused:
        check_inserts(SimpleNamespace(segment=Speaker(), branch=Speaker("fine", "5 €")), TOKENIZER)  # type: ignore[arg-type]
    assert str(refused.value) == ("branch policy 'speaker': the model's tokenizer cannot write '5 €', it becomes '5 '")
