"""Where fixed segments end."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from treeroll.policies.segment.fixed import FixedTokens
from treeroll.policy.base import Limits


def boundaries(prompt, block, model_len=100_000, segment=64, depth=4, tokens=10_000, **params):
    limits = Limits(leaves=4, segment_tokens=segment, max_depth=depth, max_tokens=tokens)
    return FixedTokens(FixedTokens.Params(**params), limits).boundaries(prompt, block, model_len)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({"prompt": 40, "block": 32}, [129, 193, 257, 321]),
        ({"prompt": 40, "block": 16}, [113, 177, 241, 305]),
        ({"prompt": 33, "block": 32}, [97, 161, 225, 289]),  # the prompt is aligned: exactly 64 each
        ({"prompt": 40, "block": 32, "segment": 10}, [65, 97, 129, 161]),  # shorter than a block: one block each
        ({"prompt": 40, "block": 32, "aligned": False}, [104, 168, 232, 296]),
        ({"prompt": 40, "block": 1}, [104, 168, 232, 296]),
        ({"prompt": 40, "block": 32, "tokens": 100}, [129, 140]),  # cut off at prompt + max_tokens
        ({"prompt": 40, "block": 32, "model_len": 200}, [129, 193, 200]),
        ({"prompt": 40, "block": 32, "model_len": 193}, [129, 193]),  # no empty segment at the end
        ({"prompt": 40, "block": 32, "model_len": 40}, []),
        ({"prompt": 40, "block": 32, "model_len": 30}, []),
    ],
)
def test_boundaries(arguments, expected):
    assert boundaries(**arguments) == expected


@given(
    st.integers(1, 500),
    st.integers(0, 64),
    st.integers(1, 2000),
    st.integers(1, 100),
    st.integers(1, 20),
    st.integers(1, 2000),
    st.booleans(),
)
def test_boundaries_ascend_stay_inside_and_align(prompt, block, model_len, segment, depth, tokens, aligned):
    totals = boundaries(prompt, block, model_len, segment, depth, tokens, aligned=aligned)
    cap = min(prompt + tokens, model_len)
    assert totals == sorted(set(totals))
    assert len(totals) <= depth
    assert all(prompt < total <= cap for total in totals)
    assert bool(totals) == (cap > prompt)
    if aligned and block > 1:
        assert all(total % block == 1 for total in totals if total != cap)
    if len(totals) < depth and totals:
        assert totals[-1] == cap


def test_hold_is_a_switch():
    limits = Limits(4, 64, 4, 100)
    assert not FixedTokens(FixedTokens.Params(), limits).hold
    assert FixedTokens(FixedTokens.Params(hold=True), limits).hold
