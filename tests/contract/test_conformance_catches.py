"""The suite can fail: promises of segment, prune, advantage and placement policies are broken here, and it says so."""

import itertools

import pytest
from tests.support.conformance import caught

from treeroll.policies.advantage.grpo import GRPOAdvantage
from treeroll.policies.placement.parent_affinity import ParentAffinity
from treeroll.policies.prune.confidence import Confidence
from treeroll.policies.prune.finish_tests import FinishTests
from treeroll.policies.segment.delimiter import Delimited
from treeroll.policies.segment.fixed import FixedTokens
from treeroll.policy.base import Delimiter, Verdict
from treeroll.tree.node import NodeStatus, StopReason

CALLS = itertools.count()


def segments(boundaries, hold=False):
    class Cuts(FixedTokens):
        def boundaries(self, prompt_tokens, block_size, max_model_len):
            right = super().boundaries(prompt_tokens, block_size, max_model_len)
            return boundaries(right, prompt_tokens)

        def __init__(self, params, limits):
            super().__init__(params, limits)
            self.hold = hold

    return Cuts


@pytest.mark.parametrize(
    ("boundaries", "promise"),
    [
        (lambda right, prompt: right[::-1], "Ascending"),
        (lambda right, prompt: [prompt, *right] if right else right, "Ascending"),
        (lambda right, prompt: [*right[:-1], right[-1] + 1] if right else right, "Room"),
        (lambda right, prompt: [], "Room"),
        (lambda right, prompt: right or [prompt + 1], "Room"),
        (lambda right, prompt: list(range(prompt + 1, right[-1] + 1)) if right else right, "Depth"),
        (lambda right, prompt: right[:1] if prompt == 1 else right, "Depth"),
        (lambda right, prompt: right[-1 - next(CALLS) % 2 :], "Pure"),
    ],
)
def test_boundaries_that_cannot_be_are_caught(boundaries, promise):
    assert caught("segment", segments(boundaries)) == promise


def test_a_hold_that_is_no_switch_is_caught():
    assert caught("segment", segments(lambda right, prompt: right, hold=1)) == "Shape"


@pytest.mark.parametrize("delimiter", [Delimiter(), Delimiter(("",)), "\n\n"])
def test_a_delimiter_that_ends_nothing_is_caught(delimiter):
    class Ends(Delimited):
        def __init__(self, params, limits):
            super().__init__(params, limits)
            self.delimiter = delimiter

    assert caught("segment", Ends) == "Shape"


def test_delimited_segments_with_lengths_of_their_own_are_caught():
    class Cuts(Delimited):
        def boundaries(self, prompt_tokens, block_size, max_model_len):
            longest = super().boundaries(prompt_tokens, block_size, max_model_len)
            return [total - depth for depth, total in enumerate(reversed(longest))][::-1]

    assert caught("segment", Cuts) == "Longest"


def judging(judge):
    class Judges(FinishTests):
        def judge(self, segment):
            return judge(segment, super().judge(segment))

    return Judges


def shortens(segment, right):
    segment.text = ""
    return right


@pytest.mark.parametrize(
    ("judge", "promise"),
    [
        (lambda segment, right: None, "Verdict"),
        (lambda segment, right: right and Verdict(NodeStatus.INNER, right.reason), "Verdict"),
        (lambda segment, right: right and Verdict(right.status, StopReason.NONE), "Verdict"),
        (lambda segment, right: right or (next(CALLS) % 2 and Verdict(NodeStatus.LEAF, StopReason.EOS)), "Pure"),
        (shortens, "ReadsOnly"),
    ],
)
def test_verdicts_that_cannot_be_are_caught(judge, promise):
    assert caught("prune", judging(judge)) == promise


def reading(judge):
    class Reads(Confidence):
        def judge(self, segment):
            return judge(segment, super().judge(segment))

    return Reads


def forgets_tokens(segment, right):
    segment.tokens.logprobs[0] = 0.5
    return right


def waits_for_ever(segment, right):
    return None if right and right.reason is StopReason.LOW_CONFIDENCE else right


@pytest.mark.parametrize(("judge", "promise"), [(forgets_tokens, "ReadsOnly"), (waits_for_ever, "Verdict")])
def test_policies_that_read_tokens_are_tried_with_tokens(judge, promise):
    assert caught("prune", reading(judge)) == promise


def crediting(credit):
    class Credits(GRPOAdvantage):
        def estimate(self, tree):
            return credit(tree, super().estimate(tree))

    return Credits


def by_number(tree, right):
    return {leaf: tuple(value * leaf for value in values) for leaf, values in right.items()}


def takes_one_away(tree, right):
    tree.rewards.popitem()
    return right


@pytest.mark.parametrize(
    ("credit", "promise"),
    [
        (lambda tree, right: dict(list(right.items())[1:]), "Credit"),
        (
            lambda tree, right: {leaf: right.get(leaf, (0.0,) * len(path)) for leaf, path in tree.paths.items()},
            "Credit",
        ),
        (lambda tree, right: {leaf: values[:1] for leaf, values in right.items()}, "Credit"),
        (lambda tree, right: {leaf: (0 / 0,) * len(values) for leaf, values in right.items()}, "Credit"),
        (lambda tree, right: {leaf: (float("nan"),) * len(values) for leaf, values in right.items()}, "Finite"),
        (lambda tree, right: {leaf: (float(next(CALLS)),) * len(v) for leaf, v in right.items()}, "Pure"),
        (by_number, "Order"),
        (takes_one_away, "ReadsOnly"),
    ],
)
def test_credit_that_cannot_be_is_caught(credit, promise):
    assert caught("advantage", crediting(credit)) == promise


def placing(home, margin=0.5):
    class Places(ParentAffinity):
        steal_margin = margin

        def __init__(self, params, limits):
            pass

        def home(self, parent_replica, replicas, placements):
            return home(parent_replica, replicas)

    return Places


@pytest.mark.parametrize(
    ("home", "promise"),
    [
        (lambda parent, replicas: "elsewhere", "Home"),
        (lambda parent, replicas: parent or "", "Home"),
        (lambda parent, replicas: replicas[next(CALLS) % len(replicas)] if replicas else None, "Pure"),
        (lambda parent, replicas: replicas.pop() if replicas else None, "ReadsOnly"),
    ],
)
def test_homes_that_cannot_be_are_caught(home, promise):
    assert caught("placement", placing(home)) == promise


def test_a_negative_margin_is_caught():
    assert caught("placement", placing(lambda parent, replicas: None, -1)) == "Shape"
