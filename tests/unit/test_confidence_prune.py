"""Prune policy `confidence`: where a path ends because the model is unsure."""

import math
from array import array

import pytest
from hypothesis import given
from hypothesis import strategies as st

from treeroll.errors import InvalidInput
from treeroll.policies import registry
from treeroll.policies.prune.confidence import Confidence
from treeroll.policy.base import Ended, Limits, Segment
from treeroll.tree.node import NodeStatus, StopReason, Tokens

LIMITS = Limits(leaves=4, segment_tokens=8, max_depth=4, max_tokens=32)
OFF = {"min_confidence": None, "decline_confidence": None, "spike": None}
LOW = {**OFF, "min_confidence": 0.3, "group_window": 2}
DECLINE = {**OFF, "decline_confidence": 0.5, "tail_window": 2, "decline_steps": 2}
SPIKE = {**OFF, "spike": 0.5, "entropy_window": 2, "spike_steps": 2}


def tokens(probs=(), entropies=()):
    probs = probs or [0.9] * len(entropies)
    entropies = entropies or [0.1] * len(probs)
    return Tokens(array("i", range(len(probs))), array("f", map(math.log, probs)), array("f", entropies))


def last(before, count):
    return part_of(before, max(0, len(before.ids) - count), len(before.ids))


def part_of(whole, start, end):
    return Tokens(whole.ids[start:end], whole.logprobs[start:end], whole.entropies[start:end])


def judge(own, before=None, *, text="", ended=Ended.NO, **params):
    before = before or tokens()
    segment = Segment(text, "", ended, len(before.ids) + len(own.ids), 1, own, lambda count: last(before, count))
    return registry.build("prune", "confidence", params, LIMITS).judge(segment)


def reason(*args, **params):
    verdict = judge(*args, **params)
    return verdict and verdict.reason


def test_a_low_mean_confidence_of_a_window_ends_the_path():
    assert reason(tokens([0.9, 0.2, 0.3, 0.9]), **LOW) is StopReason.LOW_CONFIDENCE
    assert reason(tokens([0.9, 0.1, 0.9]), **LOW) is None
    assert reason(tokens([0.1]), **LOW) is StopReason.LOW_CONFIDENCE  # at the beginning windows are partial
    assert reason(tokens([0.1]), tokens([0.9]), **LOW) is None


def test_windows_and_steps_are_the_releases():
    found = Confidence.Params()
    assert (found.group_window, found.tail_window, found.entropy_window) == (4, 8, 4)
    assert (found.decline_steps, found.spike_steps, found.spike) == (3, 3, 0.5)


def test_windows_reach_back_along_the_path_but_judge_only_the_segment():
    assert reason(tokens([0.2]), tokens([0.9, 0.3]), **LOW) is StopReason.LOW_CONFIDENCE
    assert reason(tokens([0.9]), tokens([0.1, 0.1, 0.6]), **LOW) is None


@given(
    st.lists(st.tuples(st.floats(0.01, 1), st.floats(0, 2)), min_size=1, max_size=24),
    st.integers(1, 24),
    st.sampled_from([LOW, {**DECLINE, "tail_window": 3}, {**SPIKE, "entropy_window": 3}, {"min_confidence": 0.3}]),
)
def test_whether_a_path_ends_does_not_depend_on_where_its_segments_do(path, size, params):
    whole = tokens(*zip(*path, strict=True))
    parts = [(part_of(whole, 0, at), part_of(whole, at, at + size)) for at in range(0, len(path), size)]
    assert bool(reason(whole, **params)) == any(reason(own, before, **params) for before, own in parts)


def test_a_tail_that_falls_step_by_step_ends_the_path_once_it_is_low():
    assert reason(tokens([0.9, 0.9, 0.6, 0.3]), **DECLINE) is StopReason.TAIL_DECLINE  # 0.9, 0.75, 0.45
    assert reason(tokens([0.9, 0.6, 0.3]), **DECLINE) is StopReason.TAIL_DECLINE  # 0.9, 0.75, 0.45: partial at first
    assert reason(tokens([0.6, 0.9, 0.3, 0.2]), **DECLINE) is StopReason.TAIL_DECLINE  # 0.6, 0.75, 0.6, 0.25
    assert reason(tokens([0.6, 0.9, 0.05]), **DECLINE) is None  # 0.6, 0.75, 0.475: one fall
    assert reason(tokens([0.9, 0.9, 0.8, 0.7]), **DECLINE) is None  # it falls, and is high
    assert reason(tokens([0.3, 0.4, 0.3, 0.4, 0.2]), **DECLINE) is None  # it is low, and falls once
    assert reason(tokens([0.3]), tokens([0.9, 0.9, 0.6]), **DECLINE) is StopReason.TAIL_DECLINE


def test_entropies_above_those_before_end_the_path_if_the_last_is_far_above():
    assert reason(tokens(entropies=[0.1, 0.1, 0.2, 0.9]), **SPIKE) is StopReason.ENTROPY_SPIKE
    assert reason(tokens(entropies=[0.1, 0.1, 0.0, 0.9]), **SPIKE) is None  # one in a row
    assert reason(tokens(entropies=[0.1, 0.1, 0.2, 0.6]), **SPIKE) is None  # 0.45 above
    assert reason(tokens(entropies=[0.9]), tokens(entropies=[0.1, 0.1, 0.2]), **SPIKE) is StopReason.ENTROPY_SPIKE


def test_the_tests_come_before_what_the_rest_of_the_segment_says():
    low = tokens([0.1, 0.1])
    assert reason(low, text="\\boxed{4}", ended=Ended.EOS, **LOW) is StopReason.LOW_CONFIDENCE
    assert reason(tokens([0.9, 0.9]), text="\\boxed{4}", **LOW) is StopReason.ANSWER
    assert reason(tokens([0.9, 0.9]), ended=Ended.EOS, **LOW) is StopReason.EOS


def test_an_unsure_path_stays_a_sample_or_is_discarded():
    low = tokens([0.1, 0.1])
    assert judge(low, **LOW).status is NodeStatus.LEAF
    assert judge(low, keep_as_leaf=False, **LOW).status is NodeStatus.PRUNED
    assert judge(low, ended=Ended.EOS, keep_as_leaf=False, **LOW).reason is StopReason.LOW_CONFIDENCE
    assert judge(tokens([0.9, 0.9]), ended=Ended.EOS, keep_as_leaf=False, **LOW).status is NodeStatus.LEAF


def test_an_unsure_path_below_the_minimum_length_is_discarded_for_that():
    assert judge(tokens([0.1, 0.1]), min_tokens=3, **LOW).reason is StopReason.MIN_LENGTH


def test_a_minimum_length_that_no_path_reaches_is_refused_under_this_name():
    with pytest.raises(InvalidInput, match=r"^prune policy 'confidence': min_tokens 33 is above max_tokens 32"):
        registry.build("prune", "confidence", {"min_tokens": 33}, LIMITS)


def test_no_test_at_all_is_refused():
    with pytest.raises(InvalidInput, match=r"^prune policy 'confidence': .* are all none, .* use prune policy 'finish"):
        registry.build("prune", "confidence", OFF, LIMITS)


def test_a_test_that_no_path_is_long_enough_for_is_refused():
    sentence = "^prune policy 'confidence': spike is first tested after 33 tokens, above max_tokens 32; set it to none"
    with pytest.raises(InvalidInput, match=sentence):
        registry.build("prune", "confidence", {"spike_steps": 32}, LIMITS)
    registry.build("prune", "confidence", {"spike_steps": 32, "spike": None}, LIMITS)
    registry.build("prune", "confidence", {"spike_steps": 31, "entropy_window": 64}, LIMITS)


@pytest.mark.parametrize(("settings", "needed"), [({}, 0.5), (LOW, None), (SPIKE, 0.5)])
def test_it_says_what_entropy_it_waits_for(settings, needed):
    assert registry.build("prune", "confidence", settings, LIMITS).needs.entropy == needed
