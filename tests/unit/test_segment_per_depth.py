"""Where segments of per-depth lengths end, and full rollouts, which have no boundary on the way."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from treeroll.errors import InvalidInput
from treeroll.policies import registry
from treeroll.policy.base import Limits


def build(name="per_depth", max_depth=4, **params):
    return registry.build("segment", name, params, Limits(8, 64, max_depth, 1000))


@pytest.mark.parametrize(
    ("params", "expected"),
    [
        ({"tokens": [30, 30]}, [97, 129, 1040]),  # SPO's GSM8K shape, aligned: 70 and 100 would be exact
        ({"tokens": [30, 30], "aligned": False}, [70, 100, 1040]),
        ({"tokens": [30, 60, 100], "aligned": False, "last_free": False}, [70, 130, 230]),
        ({"tokens": [1, 1, 1], "last_free": False}, [65, 97, 129]),  # shorter than a block: one block each
        ({"tokens": []}, [1040]),
        ({"aligned": False}, [104, 168, 232, 1040]),  # segment_tokens at depths 1 to 3, then free
        ({"aligned": False, "last_free": False}, [104, 168, 232, 296]),
        ({"tokens": [999], "aligned": False}, [1039, 1040]),
        ({"tokens": [999]}, [1040]),  # aligned past the cap: one segment is left
    ],
)
def test_boundaries_follow_the_list(params, expected):
    assert build(**params).boundaries(40, 32, 100_000) == expected


def test_the_context_length_bounds_a_free_segment():
    assert build(tokens=[30, 30]).boundaries(40, 32, 110) == [97, 110]
    assert build(tokens=[30, 30]).boundaries(40, 32, 40) == []
    assert build("full_rollout").boundaries(40, 32, 90) == [90]
    assert build("full_rollout").boundaries(40, 32, 40) == []
    assert build("full_rollout").boundaries(40, 32, 100_000) == [1040]


@given(
    st.integers(1, 300),
    st.integers(0, 64),
    st.integers(1, 1500),
    st.lists(st.integers(1, 140), min_size=1, max_size=6),
    st.booleans(),
    st.booleans(),
)
def test_boundaries_ascend_stay_inside_and_align(prompt, block, model_len, tokens, last_free, aligned):
    policy = build(max_depth=7, tokens=tokens, last_free=last_free, aligned=aligned)
    totals = policy.boundaries(prompt, block, model_len)
    cap = min(prompt + 1000, model_len)
    assert totals == sorted(set(totals))
    assert len(totals) <= len(tokens) + last_free
    assert all(prompt < total <= cap for total in totals)
    assert bool(totals) == (cap > prompt)
    if last_free and totals:
        assert totals[-1] == cap
    if aligned and block > 1:
        assert all(total % block == 1 for total in totals if total != cap)


def test_hold_is_a_switch():
    assert not build().hold
    assert build(hold=True).hold
    assert not build("full_rollout").hold


@pytest.mark.parametrize(
    ("params", "named"),
    [
        ({"tokens": [1, 1, 1, 1]}, ["4 tokens entries and a free last segment make 5 segments", "max_depth 4"]),
        ({"tokens": [1] * 5, "last_free": False}, ["5 tokens entries make 5 segments", "max_depth 4"]),
        ({"tokens": [600, 400]}, ["take 1000 tokens", "max_tokens 1000"]),
        ({"tokens": [600, 400, 1], "last_free": False}, ["take 1000 tokens", "max_tokens 1000"]),
        ({"tokens": [], "last_free": False}, ["tokens is empty", "last_free is off"]),
        ({"tokens": [0]}, ["tokens.0 is 0"]),
    ],
)
def test_lists_that_cannot_work_name_both_settings(params, named):
    with pytest.raises(InvalidInput) as caught:
        build(**params)
    assert all(part in str(caught.value) for part in named)


def test_the_last_segment_of_a_list_may_be_cut_short_but_not_away():
    policy = build(tokens=[600, 999], last_free=False)
    assert policy.boundaries(33, 32, 100_000) == [641, 1033]
