"""The sampled tokens of a path."""

from array import array
from dataclasses import replace

from tests.support.tokens import add_node, planted

from treeroll.tree.node import Observation


def test_the_tokens_before_a_place_are_the_last_of_its_path_that_were_sampled():
    tree = planted()
    first = add_node(tree, 0, [-0.1, -0.2, 0.0, 0.0], ids=[1, 2, 3, 4], entropies=[0.1, 0.2, 0.0, 0.0])
    first.content = replace(first.content, observation=Observation(array("i", [3, 4]).tobytes(), "two tokens"))
    second = add_node(tree, 1, [-0.3, -0.4], ids=[5, 6], entropies=[0.3, 0.4])

    def before(node, total, count):
        return tree.tokens_before(node.number, total, count).ids.tolist()

    assert before(second, second.total, 3) == [2, 5, 6]
    assert before(second, second.total, 9) == [1, 2, 5, 6]
    assert before(second, second.token_start + 1, 2) == [2, 5]
    assert before(first, first.total, 1) == [2]
    assert before(first, first.token_start + 1, 5) == [1]
    assert before(tree.root, tree.root.total, 5) == []
