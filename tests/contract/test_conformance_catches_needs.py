"""A wrong `needs` is said in a sentence: what is no Needs, what a kind does not get, and what is used unasked."""

import pytest
from tests.contract.test_conformance_catches_branch import Grows, branching
from tests.support.conformance import caught

from treeroll.policies.prune.finish_tests import FinishTests
from treeroll.policies.segment.fixed import FixedTokens
from treeroll.policy.base import Expansion
from treeroll.policy.needs import Needs
from treeroll.policy.shape import object_flaws
from treeroll.testing import CHECKS, NotConformant
from treeroll.tree.node import BranchReason, Decision, NodeStatus


def said(policy):
    with pytest.raises(NotConformant) as error:
        CHECKS["branch"](policy)
    return str(error.value)


@pytest.mark.parametrize(
    ("needs", "flaw"),
    [
        ("hold", "has needs 'hold', which is no treeroll.policy.Needs"),
        (Needs, f"has needs {Needs!r}, which is no treeroll.policy.Needs"),
        (Needs(hold="no"), "has needs.hold 'no'; it must be a bool"),
        (Needs(rewards=1), "has needs.rewards 1; it must be a bool"),
        (Needs(tokens=None), "has needs.tokens None; it must be a bool"),
        (Needs(entropy=-1.0), "has needs.entropy -1.0; it must be nats, 0 or more, or None"),
        (Needs(entropy=float("nan")), "has needs.entropy nan; it must be nats, 0 or more, or None"),
        (Needs(entropy=True), "has needs.entropy True; it must be nats, 0 or more, or None"),
        (Needs(inserts="Wait,"), "has needs.inserts 'Wait,'; it must be a tuple of texts, none of them empty"),
        (Needs(models=("",)), "has needs.models ('',); it must be a tuple of texts, none of them empty"),
    ],
)
def test_needs_of_another_shape_are_named(needs, flaw):
    policy = branching(Grows, needs=needs)
    assert said(policy) == f"Shape: branch policy 'Grows' {flaw}"


@pytest.mark.parametrize(
    ("kind", "policy", "needs", "flaw"),
    [
        ("prune", FinishTests, Needs(hold=True), "has needs.hold True, which a prune policy does not get"),
        ("prune", FinishTests, Needs(text=True), "has needs.text True, which a prune policy does not get"),
        ("segment", FixedTokens, Needs(tokens=True), "has needs.tokens True, which a segment policy does not get"),
        ("segment", FixedTokens, Needs(models=("a",)), "has needs.models ('a',), which a segment policy does not get"),
    ],
)
def test_needs_that_a_kind_does_not_get_are_refused(kind, policy, needs, flaw):
    class Wants(policy):
        pass

    Wants.needs = needs
    with pytest.raises(NotConformant) as error:
        CHECKS[kind](Wants)
    assert str(error.value) == f"Shape: {kind} policy '{policy.name}' {flaw}"


@pytest.mark.parametrize("kind", ["segment", "branch", "prune"])
def test_a_policy_that_says_nothing_of_its_needs_is_told_so(kind):
    flaw = f"has no 'needs', which a {kind} policy needs; set treeroll.policy.Needs() with what it reads"
    assert flaw in list(object_flaws(kind, object()))


class Inserts(Grows):
    def start(self, tree):
        return [Expansion(0, 4, BranchReason.INITIAL, insert="Wait,")]


class OtherModel(Grows):
    def start(self, tree):
        return [Expansion(0, 4, BranchReason.INITIAL, model="large")]


class Splits(Grows):
    def on_idle(self, tree):
        long = [node.number for node in tree.nodes[1:] if node.n_tokens > 2]
        return [Expansion(long[0], 1, BranchReason.FORK, Decision.RETROSPECTIVE, split_at=1)] if long else []


@pytest.mark.parametrize(
    ("growth", "flaw"),
    [
        (Inserts, "inserts 'Wait,', and does not have it in needs.inserts"),
        (OtherModel, "names model 'large', and does not have it in needs.models"),
        (Splits, "and does not have needs.tokens"),
    ],
)
def test_expansions_that_use_what_was_not_asked_for_are_caught(growth, flaw):
    assert said(branching(growth)).startswith(f"Needs: branch policy '{growth.__name__}' ")
    assert said(branching(growth)).endswith(flaw)


def test_text_that_is_inserted_may_be_made_of_declared_characters():
    CHECKS["branch"](branching(Inserts, needs=Needs(inserts=("Wait,",))))
    assert caught("branch", branching(Inserts, needs=Needs(inserts=("Wait",)))) == "Needs"


class ReadsTokens(Grows):
    def on_node(self, tree, node):
        return [Expansion(node.number, 0)] if len(node.tokens.ids) and node.status is NodeStatus.INNER else []


def test_tokens_that_were_not_asked_for_are_said_to_be_absent():
    CHECKS["branch"](branching(ReadsTokens, needs=Needs(tokens=True)))
    assert said(branching(ReadsTokens)).endswith("(nodes have no tokens and no text: see needs.tokens and needs.text)")
