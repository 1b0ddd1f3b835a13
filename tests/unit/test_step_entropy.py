"""Entropies of agent steps."""

import math

import pytest
from tests.support.tokens import add_step, planted

from treeroll.policies.branch.step_entropy import StepEntropyParams, entropy_change, step_entropy
from treeroll.tree.node import NodeStatus

# A vocabulary of two: entropies in units of ln 2.
BITS = StepEntropyParams(window=3, vocabulary=2)


def nats(*bits):
    return [value * math.log(2) for value in bits]


def test_the_first_tokens_of_a_step_are_added_up_in_units_of_the_vocabularys_logarithm():
    step = add_step(planted(), 0, nats(1, 2, 3, 8))
    assert step_entropy(BITS, step) == pytest.approx(6)


def test_a_step_shorter_than_the_window_has_a_smaller_sum():
    step = add_step(planted(), 0, nats(1, 2), "=84")
    assert step_entropy(BITS, step) == pytest.approx(3)


def test_what_a_tool_said_is_not_of_the_step():
    step = add_step(planted(), 0, nats(1), "=84")
    step.tokens.entropies[1] = 100.0
    assert step_entropy(BITS, step) == pytest.approx(1)


def test_the_change_is_from_the_first_step_of_the_same_path():
    tree = planted()
    calm, unsure = add_step(tree, 0, nats(1), "a"), add_step(tree, 0, nats(5), "b", sibling=1)
    for first, expected in ((calm, 3), (unsure, -1)):
        middle = add_step(tree, first.number, nats(9), "c")
        last = add_step(tree, middle.number, nats(4), status=NodeStatus.LEAF)
        assert entropy_change(BITS, tree, first) == 0
        assert entropy_change(BITS, tree, last) == pytest.approx(expected)
