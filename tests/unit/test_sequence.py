"""What a replica keeps of its grants."""

from array import array

import pytest

from treeroll.demo import MODEL_DIR
from treeroll.errors import InvalidInput
from treeroll.generator.detokenizer import Detokenizer
from treeroll.generator.sequence import GrantSequence, Sequences
from treeroll.pb.v1 import replica_pb2 as wire

PROMPT = array("i", [5, 6, 7])
DETOKENIZER = Detokenizer(MODEL_DIR)


def start(grant: int, tree: str = "t", **fields: object) -> wire.StartBranch:
    return wire.StartBranch(grant=grant, tree_id=tree, prompt_tokens=3, **fields)


def opened(sequences: Sequences) -> GrantSequence:
    return sequences.open(start(1, prefix_ids=PROMPT.tobytes(), prefix_tokens=3))


def test_a_fork_begins_with_a_copy_of_its_prefix() -> None:
    sequences = Sequences(DETOKENIZER)
    first = opened(sequences)
    first.extend(array("i", [8, 9]), "ab")
    first.extend(array("i", [10]), "c")
    fork = sequences.open(start(2, prefix_grant=1, prefix_tokens=5))
    fork.extend(array("i", [11]), "d")
    assert (first.ids.tolist(), fork.ids.tolist()) == ([5, 6, 7, 8, 9, 10], [5, 6, 7, 8, 9, 11])
    assert (first.tail(5), first.tail(6), fork.tail(6)) == ("ab", "abc", "abd")


def test_a_copy_at_the_prompt_has_no_completion_text() -> None:
    sequences = Sequences(DETOKENIZER)
    opened(sequences).extend(array("i", [8]), "x")
    again = sequences.open(start(2, prefix_grant=1, prefix_tokens=3))
    assert (again.ids, again.tail(3)) == (PROMPT, "")


def test_only_the_end_of_the_text_is_kept() -> None:
    first = opened(Sequences(DETOKENIZER))
    first.extend(array("i", [8]), "y" * 300)
    assert first.tail(4) == "y" * 256


def test_a_sent_prefix_brings_its_text() -> None:
    ids = array("i", [*PROMPT, 8])
    sequence = Sequences(DETOKENIZER).open(start(4, prefix_ids=ids.tobytes(), prefix_tokens=4, prefix_tail="so"))
    assert sequence.tail(4) == "so"


@pytest.mark.parametrize(
    ("order", "said"),
    [
        (start(2, prefix_grant=9, prefix_tokens=3), "no sequence of grant 9"),
        (start(2, prefix_grant=1, prefix_tokens=4), "no boundary at 4 tokens"),
        (start(2, "other", prefix_grant=1, prefix_tokens=3), "no sequence of grant 1"),
        (start(2, prefix_ids=PROMPT.tobytes(), prefix_tokens=4), "4 tokens is said, 3 are there"),
    ],
)
def test_a_prefix_that_is_not_there_is_refused(order: wire.StartBranch, said: str) -> None:
    sequences = Sequences(DETOKENIZER)
    opened(sequences)
    with pytest.raises(InvalidInput, match=said):
        sequences.open(order)
    assert len(sequences) == 1


def test_a_forgotten_tree_is_gone_whole() -> None:
    sequences = Sequences(DETOKENIZER)
    opened(sequences)
    sequences.open(start(2, "other", prefix_ids=PROMPT.tobytes(), prefix_tokens=3))
    sequences.forget(["t", "never seen"])
    assert (list(sequences.trees), len(sequences)) == (["other"], 1)


def test_a_prefix_that_ends_inside_a_segment_says_how_much_of_its_text_it_keeps() -> None:
    ids = DETOKENIZER.tokenizer.encode("12+3=15").ids
    sequences = Sequences(DETOKENIZER)
    opened(sequences).extend(array("i", ids), "12+3=15")
    cut = sequences.open(start(2, prefix_grant=1, prefix_tokens=3 + 4, cut_from=3))
    assert (cut.ids.tolist(), cut.tail(7), cut.parent_chars) == ([5, 6, 7, *ids[:4]], "12+3", 4)
    sent = Sequences(DETOKENIZER).open(start(2, prefix_ids=cut.ids.tobytes(), prefix_tokens=7, cut_from=3))
    assert (sent.tail(7), sent.parent_chars) == ("12+3", 4)


def test_a_prefix_that_ends_with_a_segment_keeps_no_part_of_one() -> None:
    assert opened(Sequences(DETOKENIZER)).parent_chars is None


def test_a_cut_must_name_a_boundary_before_the_end_of_the_prefix() -> None:
    sequences = Sequences(DETOKENIZER)
    opened(sequences).extend(array("i", [8, 9, 10]), "abc")
    for total, cut_from in ((5, 4), (9, 3), (5, 6)):
        with pytest.raises(InvalidInput):
            sequences.open(start(2, prefix_grant=1, prefix_tokens=total, cut_from=cut_from))
