"""The delimiter policy: what it asks for, and what it refuses."""

import re

import pytest

from treeroll.errors import InvalidInput
from treeroll.policies import registry
from treeroll.policies.resolve import build_policies
from treeroll.policy.base import Delimiter, Limits

LIMITS = Limits(leaves=8, segment_tokens=64, max_depth=3, max_tokens=1000)


def build(limits: Limits = LIMITS, **params: object):
    return registry.build("segment", "delimiter", params, limits)


def test_a_path_may_have_max_depth_segments_that_all_may_reach_its_longest_total() -> None:
    assert build().boundaries(40, 32, 100_000) == [1040] * 3
    assert build().boundaries(40, 32, 90) == [90] * 3
    assert build().boundaries(40, 32, 40) == []


def test_steps_end_at_blank_lines_unless_others_are_named() -> None:
    assert build().delimiter == Delimiter(("\n\n",), ())
    assert build(texts=["\n", "</step>"], token_ids=[7]).delimiter == Delimiter(("\n", "</step>"), (7,))
    assert not build().hold
    assert build(hold=True).hold


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"texts": []}, "texts and token_ids are both empty; name a delimiter"),
        ({"texts": [""]}, "at least 1 character"),
        ({"texts": ["x" * 33]}, "at most 32 characters"),
        ({"texts": ["x"] * 17}, "at most 16 items"),
        ({"token_ids": [-1]}, "greater than or equal to 0"),
        ({"token_ids": [2**31]}, "less than 2147483648"),
    ],
)
def test_delimiters_that_cannot_be_are_refused(params: dict[str, object], message: str) -> None:
    with pytest.raises(InvalidInput, match=re.escape(message)):
        build(**params)


def test_a_path_of_one_segment_has_no_place_for_a_delimiter() -> None:
    with pytest.raises(InvalidInput, match="with max_depth 1 the first segment is the last"):
        build(Limits(8, 64, 1, 64))


def test_paths_wait_at_delimiters_where_a_branch_policy_needs_them_to() -> None:
    with pytest.raises(InvalidInput, match=r"segment policy 'delimiter' lets them run; set segment\.hold"):
        build_policies("deepsearch", None, {"segment": {"name": "delimiter"}})
    assert build_policies("deepsearch", None, {"segment": {"name": "delimiter", "hold": True}}).segment.hold
