"""Written arithmetic, checked across segments."""

import pytest
from tests.support.grow import PROMPT_TOKENS

from treeroll.policies.branch.steps import StepRates
from treeroll.tree.node import Content, Node, NodeStatus
from treeroll.tree.tree import Tree


def rates(*texts, ended=False):
    """The value after each segment of one path."""
    tree, model = Tree.planted("tree", 7, PROMPT_TOKENS), StepRates()
    for number, text in enumerate(texts, 1):
        last = ended and number == len(texts)
        status = NodeStatus.LEAF if last else NodeStatus.INNER
        tree.add(Node(number, number - 1, 0, number, 0, 1, content=Content(text=text), status=status))
        assert model.update(tree) == {number}
    return [model.of(node) for node in tree.nodes[1:]]


def test_the_share_of_right_steps_is_over_the_whole_path():
    assert rates("Step 1: 4*6=24, so 12+24-30.\n", "Step 2: 12+24=37, so 37-30.\n", "Step 3: 37-30=7.\n") == [
        1.0,
        0.5,
        pytest.approx(2 / 3),
    ]


def test_a_step_that_a_boundary_cuts_counts_once_it_is_whole():
    assert rates("Step 1: 4*", "6=2", "4, so 12") == [None, None, 1.0]
    assert rates("4*6=2", "5.") == [None, 0.0]
    assert rates("4*6=24") == [None]
    assert rates("4*6=24", ended=True) == [1.0]
    assert rates("4*6=24, ", "4*6=24, ", "1+1=3 ") == [1.0, 1.0, pytest.approx(2 / 3)]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("<4*60>=240\n", 1.0),
        ("(3+4)*2 = 14.", 1.0),
        ("-3+5=2.", 1.0),
        ("8-9=-1\n", 1.0),
        ("2+2*3=12 ", 0.0),
        ("8-9=1.", 0.0),
        ("x=3, 5=5, 1/2=0, 2*1.5=3 and 1.5*2=3 say nothing.", None),
        ("a7+1=9 b", None),
        ("2*3=6.5 ", None),
        ("(1+1=3)", 0.0),
        ("((1+2)*2=6) ", 1.0),
        ("1+(2=3 ", None),
    ],
)
def test_what_is_a_step_and_when_it_is_right(text, value):
    assert rates(text) == [value]


def test_branches_of_a_tree_have_a_common_past_and_nothing_else():
    tree, model = Tree.planted("tree", 7, PROMPT_TOKENS), StepRates()
    for number, (parent, text) in enumerate([(0, "1+1=2, 2+"), (1, "2=4 "), (1, "2=5 "), (0, "1+1=1 ")], 1):
        tree.add(Node(number, parent, 0, 1, 0, 1, content=Content(text=text)))
    model.update(tree)
    assert [model.of(node) for node in tree.nodes] == [None, 1.0, 1.0, 0.5, 0.0]
