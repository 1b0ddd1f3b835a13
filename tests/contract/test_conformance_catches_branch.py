"""The suite can fail: each promise of branch policies is broken here, and the check that guards it says so."""

import math
from dataclasses import replace

import pytest
from pydantic import BaseModel
from tests.support.conformance import caught

from treeroll.core.model.ledger import Ledger
from treeroll.policies.branch.flat import Flat
from treeroll.policies.branch.tree_grpo import TreeGRPO
from treeroll.policy import base
from treeroll.policy.base import Expansion
from treeroll.policy.needs import Needs
from treeroll.testing import CHECKS, check_branch_policy
from treeroll.tree.node import BranchReason, Decision, NodeStatus

INNER = NodeStatus.INNER


class Grows:
    """Four branches from the prompt, which run on."""

    def __init__(self, policy=None):
        self.policy = policy

    def start(self, tree):
        return [Expansion(0, 4, BranchReason.INITIAL)]

    def on_node(self, tree, node):
        return [Expansion(node.number, 0)] if node.status is INNER else []

    def on_idle(self, tree):
        return []


def branching(growth, widest=16, **attributes):
    """A branch policy class that grows so."""

    class Branching:
        name, summary, paper = growth.__name__, "made to fail", "none"
        needs = Needs()

        class Params(base.Params):
            pass

        def __init__(self, params, limits):
            self.max_leaves = widest
            self.memory = []

        def grow(self, tree):
            return growth(self)

    for name, value in attributes.items():
        setattr(Branching, name, value)
    return Branching


def test_the_growth_that_all_the_others_break_is_right():
    CHECKS["branch"](branching(Grows))


class Wide(Grows):
    def on_node(self, tree, node):
        return [Expansion(node.number, 1)] if node.status is INNER else []


@pytest.mark.parametrize("widest", [17, 0, 1.5])
def test_a_width_beyond_the_run_is_caught_before_anything_grows(widest):
    assert caught("branch", branching(Grows, widest)) == "Width"


def test_more_leaves_than_declared_are_caught():
    assert caught("branch", branching(Wide, 8)) == "Invariants"


class FirstComes(Grows):
    """The first path to arrive gets the forks."""

    def on_node(self, tree, node):
        first = node.status is INNER and node.number == 1
        return [Expansion(node.number, 2 if first else 0)] if node.status is INNER else []


class Deepest(Grows):
    """Reads how far other paths have come."""

    def on_node(self, tree, node):
        ahead = node.status is INNER and any(other.depth > node.depth for other in tree.nodes)
        return [Expansion(node.number, int(ahead and node.depth == 1))] if node.status is INNER else []


class FirstToldForks(Grows):
    """The first path that a tool answers gets the forks."""

    def on_node(self, tree, node):
        first = node.observation is not None and not any(other.observation for other in tree.nodes[: node.number])
        return [Expansion(node.number, int(first))] if node.status is INNER else []


@pytest.mark.parametrize("growth", [FirstComes, Deepest, FirstToldForks])
def test_the_order_of_arrival_in_a_decision_is_caught(growth):
    assert caught("branch", branching(growth)) == "ForkBlind"


class Remembers(Grows):
    """Trees of one policy know of each other."""

    def start(self, tree):
        self.policy.memory.append(tree.tree_id)
        return [Expansion(0, 1 + len(self.policy.memory) % 4, BranchReason.INITIAL)]


def test_memory_that_trees_share_is_caught():
    assert caught("branch", branching(Remembers)) == "Deterministic"


class SaysNothing(Grows):
    """Decides nothing at boundaries; paths that wait there go on by themselves."""

    def on_node(self, tree, node):
        return []


def test_a_policy_without_hold_need_not_name_the_paths_that_go_on():
    check_branch_policy(branching(SaysNothing))


class ForksLeaves(Grows):
    def on_node(self, tree, node):
        return [Expansion(node.number, 0 if node.status is INNER else 1)]


class NoSuchNode(Grows):
    def on_node(self, tree, node):
        return [Expansion(len(tree.nodes), 0)]


class Negative(Grows):
    def on_node(self, tree, node):
        return [Expansion(node.number, -1)] if node.status is INNER else []


class Nothing(Grows):
    def start(self, tree):
        return []


class PlainText(Grows):
    def on_node(self, tree, node):
        return [Expansion(node.number, 0, "because")] if node.status is INNER else []


class NoLabel(Grows):
    def on_node(self, tree, node):
        return [Expansion(node.number, 0, group=-1)] if node.status is INNER else []


class Frozen(Grows):
    def on_node(self, tree, node):
        return [Expansion(node.number, 0, temperature_scale=0.0)] if node.status is INNER else []


class Boiling(Grows):
    def on_node(self, tree, node):
        return [Expansion(node.number, 0, temperature_scale=math.inf)] if node.status is INNER else []


@pytest.mark.parametrize("growth", [ForksLeaves, NoSuchNode, Negative, Nothing, PlainText, NoLabel, Frozen, Boiling])
def test_expansions_that_make_no_sense_are_caught(growth):
    assert caught("branch", branching(growth)) == "Expansions"


class Writes(Grows):
    def on_node(self, tree, node):
        node.logprob_sum = 0.0
        return super().on_node(tree, node)


def test_a_tree_that_is_written_to_is_caught():
    assert caught("branch", branching(Writes)) == "ReadsOnly"


class ReplacesForEver(Grows):
    """Starts anew until a path is kept."""

    def on_idle(self, tree):
        return [] if tree.leaves else [Expansion(0, 4, BranchReason.FALLBACK, Decision.RETROSPECTIVE)]


class NeedsALeaf(Grows):
    """Fails in a tree that keeps no path."""

    def on_idle(self, tree):
        del self.policy.memory[tree.leaves[0] :]
        return []


class NeedsTwoSegments(Grows):
    """Fails in a tree of one segment."""

    def on_idle(self, tree):
        depths = sorted({node.depth for node in tree.nodes})
        del self.policy.memory[depths[2] :]
        return []


@pytest.mark.parametrize("growth", [ReplacesForEver, NeedsALeaf, NeedsTwoSegments])
def test_empty_and_small_trees_that_do_not_end_well_are_caught(growth):
    assert caught("branch", branching(growth)) == "Ends"


class ReadsText(Grows):
    def on_node(self, tree, node):
        return [Expansion(node.number, 0)] if len(node.text) and node.status is INNER else []


def test_text_is_there_for_who_says_that_it_reads_text_only():
    CHECKS["branch"](branching(ReadsText, needs=Needs(text=True)))
    assert caught("branch", branching(ReadsText)) == "Ends"


class DeclaresTooMuch(TreeGRPO):
    """Draws from finished chains, and calls that a boundary decision."""

    def grow(self, tree):
        return Declares(super().grow(tree), Decision.BOUNDARY)


class Declares:
    def __init__(self, growth, decision):
        self.growth, self.decision = growth, decision

    def start(self, tree):
        return self.growth.start(tree)

    def on_node(self, tree, node):
        return self.growth.on_node(tree, node)

    def on_idle(self, tree):
        return [replace(expansion, decision=self.decision) for expansion in self.growth.on_idle(tree)]


def test_a_retrospective_decision_declared_boundary_is_caught():
    CHECKS["branch"](TreeGRPO)
    assert caught("branch", DeclaresTooMuch) == "Boundary"


def test_an_overspent_budget_is_caught(monkeypatch):
    monkeypatch.setattr(Ledger, "fits", lambda self, tokens: True)
    monkeypatch.setattr(Ledger, "balanced", lambda self: True)
    assert caught("branch", branching(Grows)) == "Ledger"


def loose(**settings):
    class Params(BaseModel):
        model_config = settings

    return Params


@pytest.mark.parametrize(
    "attributes",
    [
        {"name": None},
        {"summary": "two\nlines"},
        {"paper": ""},
        {"Params": dict},
        {"Params": loose(frozen=True)},
        {"Params": loose(extra="forbid")},
        {"needs": "hold"},
        {"needs": Needs(hold="no")},
        {"grow": property()},
    ],
    ids=lambda attributes: next(iter(attributes)),
)
def test_a_class_that_is_no_policy_is_caught(attributes):
    assert caught("branch", branching(Grows, **attributes)) == "Shape"


def test_an_instance_is_no_policy_class_and_wrong_parameters_are_named():
    assert caught("branch", Flat.Params()) == "Shape"
    assert caught("branch", Flat, {"b": 2}) == "Shape"
