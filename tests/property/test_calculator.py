"""The calculator agrees with Python, and any text at all gets a short plain line."""

import re

from hypothesis import given
from hypothesis import strategies as st

from treeroll.tools.base import MAX_OBSERVATION_CHARS
from treeroll.tools.calculator import MAX_CALL_CHARS, Calculator

CALCULATOR = Calculator()
EXPRESSIONS = st.recursive(
    st.integers(0, 9999).map(str),
    lambda inner: st.one_of(
        st.tuples(inner, st.sampled_from(["+", "-", "*", " - "]), inner).map("".join),
        inner.map("({})".format),
        inner.map("-{}".format),
    ),
    max_leaves=8,
)
ALMOST_CALLS = st.text("0123456789+-*() <", max_size=80).map("<{}>".format)


@given(st.text(max_size=20), EXPRESSIONS.filter(lambda expression: len(expression) <= MAX_CALL_CHARS))
def test_the_value_is_pythons(before: str, expression: str) -> None:
    assert CALCULATOR.answer(f"{before}<{expression}>") == f"={eval(expression)}\n"  # noqa: S307 - of our own making


@given(st.one_of(st.text(), st.text().map(lambda text: f"<{text}>"), ALMOST_CALLS))
def test_any_text_gets_one_short_ascii_line_that_ends_no_call(text: str) -> None:
    observation = CALCULATOR.answer(text)
    assert observation.startswith("=")
    assert observation.endswith("\n")
    assert observation[:-1].isprintable()
    assert observation.isascii()
    assert len(observation) <= MAX_OBSERVATION_CHARS
    assert CALCULATOR.call_end not in observation
    assert observation == CALCULATOR.answer(text)


@given(ALMOST_CALLS)
def test_what_is_answered_is_what_python_would_read(text: str) -> None:
    observation = CALCULATOR.answer(text)
    call = text[:-1].rpartition("<")[2]
    if not observation.startswith("=error"):
        assert int(observation[1:]) == eval(_without_leading_zeros(call))  # noqa: S307 - digits and signs only


def _without_leading_zeros(expression: str) -> str:
    return re.sub(r"\b0+(?=[0-9])", "", expression).strip()
