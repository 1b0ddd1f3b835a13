"""Splitting nodes, against a tree that is built token by token."""

from hypothesis import given
from hypothesis import strategies as st

from treeroll.tree.splits import split

PROMPT = 3


@st.composite
def trees(draw):
    """Parents, starts and sizes of a tree in which children begin anywhere behind their parent's first token."""
    parents, starts, sizes = [0], [0], [PROMPT]
    for number in range(1, draw(st.integers(1, 9))):
        parent = draw(st.integers(0, number - 1))
        kept = PROMPT if parent == 0 else draw(st.integers(1, sizes[parent]))
        parents.append(parent)
        starts.append(starts[parent] + kept)
        sizes.append(draw(st.integers(1, 6)))
    return parents, starts, sizes


def tokens_to(parents, starts, number, end):
    """(node, offset) of each token on the path to `end` tokens of a node."""
    if number == 0:
        return [(0, at) for at in range(end)]
    parent = parents[number]
    above = tokens_to(parents, starts, parent, starts[number] - starts[parent])
    return above + [(number, at) for at in range(end)]


@given(trees())
def test_every_path_keeps_its_tokens_and_no_node_begins_inside_another(tree):
    parents, starts, sizes = tree
    done = split(parents, starts, sizes)
    tails = done.tails()
    spans = [(number, tails.get(number, 0), size) for number, size in enumerate(sizes)]
    spans += [tuple(head) for head in done.heads]
    assert len(spans) == len(done.parents)
    for number, size in enumerate(sizes):
        path, at = [], number
        while True:
            node, start, end = spans[at]
            assert start < end
            path = [(node, offset) for offset in range(start, end)] + path
            if at == 0:
                break
            at = done.parents[at]
        assert path == tokens_to(parents, starts, number, size)


@given(trees())
def test_only_split_nodes_change(tree):
    parents, starts, sizes = tree
    done = split(parents, starts, sizes)
    divided = {
        parent for number, parent in enumerate(parents) if number and starts[number] < starts[parent] + sizes[parent]
    }
    assert set(done.tails()) == divided
    if not divided:
        assert done.parents == parents


def test_a_node_that_is_split_twice_becomes_three():
    # Node 1 holds tokens 3 to 9; 2 begins after two of them, 3 after four, 4 behind it.
    done = split([0, 0, 1, 1, 1], [0, 3, 5, 7, 9], [3, 6, 2, 2, 2])
    assert done.heads == [(1, 0, 2), (1, 2, 4)]
    assert done.parents == [0, 6, 5, 6, 1, 0, 5]
    assert done.tails() == {1: 4}


def test_a_child_that_does_not_lie_behind_its_parents_beginning_is_no_split():
    assert split([0, 0, 1], [0, 3, 3], [3, 4, 2]).heads == []
    assert split([0, 0, 1], [0, 3, 9], [3, 4, 2]).heads == []
