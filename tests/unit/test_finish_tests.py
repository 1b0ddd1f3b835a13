"""When a path ends, and as what."""

import re
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from treeroll.errors import InvalidInput
from treeroll.policies.prune.finish_tests import FinishTests
from treeroll.policies.prune.repetition import repeats
from treeroll.policy.base import Ended, Limits, Segment
from treeroll.tree.node import NodeStatus, StopReason

LIMITS = Limits(leaves=4, segment_tokens=10, max_depth=5, max_tokens=50)
LOOP = "and then we add the two numbers, " * 8


def judge(text, tail="", ended=Ended.NO, tokens=20, depth=2, **params):
    policy = FinishTests(FinishTests.Params(**params), LIMITS)
    verdict = policy.judge(Segment(text, tail, ended, tokens, depth))
    if verdict is None:
        return None
    assert verdict.status is (NodeStatus.PRUNED if verdict.reason is StopReason.MIN_LENGTH else NodeStatus.LEAF)
    return verdict.reason


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (r"so \boxed{42}", True),
        (r"so \boxed{\frac{1}{2}}", True),
        (r"so \boxed{\frac{a^{2}}{b}}", True),
        (r"so \boxed{\frac{a^{b^{2}}}{c}}", False),  # three levels inside
        (r"so \boxed{42", False),
        (r"so boxed{42}", False),
        (r"so \boxed{1{ \boxed{2}", True),  # the second is complete
        (r"so \boxed{}", True),
        ("so \\boxed{\n4\n}", True),
    ],
)
def test_a_complete_box_is_an_answer(text, found):
    assert judge(text) is (StopReason.ANSWER if found else None)
    assert judge(text, boxed="off") is None
    assert judge(text, boxed="boxed_and_eos_first") is None
    assert judge(text, ended=Ended.EOS, boxed="boxed_and_eos_first") is (StopReason.ANSWER if found else StopReason.EOS)


@pytest.mark.parametrize("cut", range(1, len(r"\boxed{\frac{1}{2}}")))
def test_an_answer_that_straddles_a_boundary_is_found(cut):
    answer = r"\boxed{\frac{1}{2}}"
    assert judge(answer[cut:] + " done", tail="so " + answer[:cut]) is StopReason.ANSWER


def test_an_answer_before_the_segment_does_not_finish_again():
    assert judge(" and more", tail=r"so \boxed{42}") is None
    assert judge(" and more", tail=r"so \boxed{42}", ended=Ended.EOS) is StopReason.EOS
    assert judge(" and more", tail=r"so \boxed{42}", boxed="boxed_and_eos_first") is None
    late = judge(" and more", tail=r"so \boxed{42}", ended=Ended.EOS, boxed="boxed_and_eos_first")
    assert late is StopReason.ANSWER


@pytest.mark.parametrize(
    ("tokens", "depth", "reason"),
    [
        (50, 5, StopReason.LENGTH),
        (50, 3, StopReason.LENGTH),
        (45, 5, StopReason.DEPTH),
        (30, 3, StopReason.LENGTH),  # neither cap: the engine's context ended
    ],
)
def test_the_last_boundary_is_length_or_depth(tokens, depth, reason):
    assert judge("x", ended=Ended.LIMIT, tokens=tokens, depth=depth) is reason


def test_the_order_is_the_published_one():
    answer = LOOP + r"\boxed{1}"
    assert judge(answer, ended=Ended.EOS) is StopReason.ANSWER
    assert judge(answer, ended=Ended.EOS, repetition="first") is StopReason.REPETITION
    assert judge(LOOP, ended=Ended.EOS) is StopReason.EOS
    assert judge(LOOP, ended=Ended.LIMIT, depth=5) is StopReason.DEPTH
    assert judge(LOOP) is StopReason.REPETITION
    assert judge(LOOP, repetition="off") is None


@pytest.mark.parametrize("boxed", ["boxed_as_eos", "boxed_and_eos_first", "off"])
@pytest.mark.parametrize("repetition", ["first", "last", "off"])
@pytest.mark.parametrize("ended", [Ended.EOS, Ended.LIMIT])
@given(st.text(max_size=300), st.text(max_size=256), st.integers(1, 60), st.integers(1, 5))
def test_an_ended_path_always_gets_a_verdict(boxed, repetition, ended, text, tail, tokens, depth):
    assert judge(text, tail, ended, tokens, depth, boxed=boxed, repetition=repetition, min_tokens=20) is not None


def test_short_completions_are_discarded_whatever_ended_them():
    for text, ended in [(r"\boxed{1}", Ended.NO), ("x", Ended.EOS), ("x", Ended.LIMIT), (LOOP, Ended.NO)]:
        assert judge(text, ended=ended, tokens=19, min_tokens=20) is StopReason.MIN_LENGTH
        assert judge(text, ended=ended, tokens=20, min_tokens=20) is not StopReason.MIN_LENGTH
    assert judge("x", tokens=1, min_tokens=20) is None


def test_a_minimum_above_the_maximum_is_refused():
    with pytest.raises(InvalidInput, match="min_tokens 51 is above max_tokens 50"):
        FinishTests(FinishTests.Params(min_tokens=51), LIMITS)


@pytest.mark.parametrize(
    ("text", "chars", "count", "found"),
    [
        ("a" * 39, 32, 8, True),  # eight overlapping runs of 32
        ("a" * 38, 32, 8, False),
        ("abc", 1, 2, False),
        ("abca", 1, 2, True),
        ("", 32, 8, False),
    ],
)
def test_repetition_counts_overlapping_occurrences(text, chars, count, found):
    assert repeats(text, chars, count) is found


@given(
    st.lists(st.sampled_from(["ab", "abc ", "x", " ", "\n", "aba", "\u2003", "\x1c", "wörld "]), max_size=60),
    st.integers(1, 9),
    st.integers(2, 6),
)
def test_repetition_agrees_with_counting_every_substring(pieces, chars, count):
    text = "".join(pieces)
    every = (len(re.findall(f"(?={re.escape(text[i : i + chars])})", text)) for i in range(len(text) - chars + 1))
    assert repeats(text, chars, count) is (max(every, default=0) >= count)


@pytest.mark.timeout(120)  # quadratic, it would take hours
@pytest.mark.parametrize(
    "text",
    ["\\boxed{" * 20_000, "\\boxed{{{" + "a{}" * 50_000, "{" * 100_000, "\\boxed{" + "{a}" * 50_000, "a" * 200_000],
)
def test_hostile_text_takes_linear_time(text):
    judge(text, repetition="first")
    judge(text, repetition="last")


def test_ordinary_text_is_no_repetition():
    words = [a + b for a in string.ascii_lowercase for b in string.ascii_lowercase]
    assert not repeats(" ".join(words), 32, 8)
