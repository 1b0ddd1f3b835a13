"""What a replica keeps of its grants."""

from array import array

import pytest

from treeroll.errors import InvalidInput
from treeroll.generator.sequence import GrantSequence, Sequences
from treeroll.pb.v1 import replica_pb2 as wire

PROMPT = array("i", [5, 6, 7])


def start(grant: int, tree: str = "t", **fields: object) -> wire.StartBranch:
    return wire.StartBranch(grant=grant, tree_id=tree, prompt_tokens=3, **fields)


def opened(sequences: Sequences) -> GrantSequence:
    return sequences.open(start(1, prefix_ids=PROMPT.tobytes(), prefix_tokens=3))


def test_a_fork_begins_with_a_copy_of_its_prefix() -> None:
    sequences = Sequences()
    first = opened(sequences)
    first.extend(array("i", [8, 9]), "ab")
    first.extend(array("i", [10]), "c")
    fork = sequences.open(start(2, prefix_grant=1, prefix_tokens=5))
    fork.extend(array("i", [11]), "d")
    assert (first.ids.tolist(), fork.ids.tolist()) == ([5, 6, 7, 8, 9, 10], [5, 6, 7, 8, 9, 11])
    assert (first.tail(5), first.tail(6), fork.tail(6)) == ("ab", "abc", "abd")


def test_a_copy_at_the_prompt_has_no_completion_text() -> None:
    sequences = Sequences()
    opened(sequences).extend(array("i", [8]), "x")
    again = sequences.open(start(2, prefix_grant=1, prefix_tokens=3))
    assert (again.ids, again.tail(3)) == (PROMPT, "")


def test_only_the_end_of_the_text_is_kept() -> None:
    first = opened(Sequences())
    first.extend(array("i", [8]), "y" * 300)
    assert first.tail(4) == "y" * 256


def test_a_sent_prefix_brings_its_text() -> None:
    ids = array("i", [*PROMPT, 8])
    sequence = Sequences().open(start(4, prefix_ids=ids.tobytes(), prefix_tokens=4, prefix_tail="so"))
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
    sequences = Sequences()
    opened(sequences)
    with pytest.raises(InvalidInput, match=said):
        sequences.open(order)
    assert len(sequences) == 1


def test_a_forgotten_tree_is_gone_whole() -> None:
    sequences = Sequences()
    opened(sequences)
    sequences.open(start(2, "other", prefix_ids=PROMPT.tobytes(), prefix_tokens=3))
    sequences.forget(["t", "never seen"])
    assert (list(sequences.trees), len(sequences)) == (["other"], 1)
