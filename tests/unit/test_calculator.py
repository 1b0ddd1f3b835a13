"""The calculator: what a call is, what it answers, and what hostile output gets."""

import time

import pytest

from treeroll.errors import InvalidInput
from treeroll.tools import registry
from treeroll.tools.base import MAX_OBSERVATION_CHARS
from treeroll.tools.calculator import MAX_CALL_CHARS

CALCULATOR = registry.get("calculator")


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("<12*7>", 84),
        ("Some words, then <12+4*6-30>", 6),
        ("<(12+4)*6>", 96),
        ("<4-30>", -26),
        ("<10-3-2>", 5),  # from the left
        ("<-3*-(2+1)>", 9),
        ("< 2 * 3 >", 6),
        ("<007>", 7),
        ("<1+1>=2\n<2+2>", 4),  # the last call only
        ("<1+<2+2>", 4),
        (f"<{'9' * 32}*{'9' * 31}>", int("9" * 32) * int("9" * 31)),
    ],
)
def test_a_call_gets_its_value(text: str, value: int) -> None:
    assert CALCULATOR.answer(text) == f"={value}\n"


@pytest.mark.parametrize(
    "text",
    [
        "",
        ">",
        "<>",
        "< >",
        "12*7>",
        "<12*7",
        "<12*7> ",
        "<12*>",
        "<*12>",
        "<2**9>",
        "<1 2>",
        "<(1>",
        "<1)>",
        "<()>",
        "<+1>",
        "<1\n+2>",
        "<1/0>",
        "<1.5>",
        "<1_000>",
        "<0x10>",
        "<9e9>",
        "<x>",
        "<__import__('os').system('id')>",
        "<1 if 1 else 2>",
        "<\u0661+\uff12>",  # digits, but not ASCII
        "<\u00b2>",
        "<1\u22121>",  # looks like a minus
        "<1\x00>",
        "<\ud800>",
    ],
)
def test_anything_else_gets_an_error(text: str) -> None:
    assert CALCULATOR.answer(text).startswith("=error: ")


def test_a_call_may_be_long_but_not_longer() -> None:
    longest = "1+" * (MAX_CALL_CHARS // 2 - 1) + "11"
    assert len(longest) == MAX_CALL_CHARS
    assert CALCULATOR.answer(f"<{longest}>") == f"={MAX_CALL_CHARS // 2 - 1 + 11}\n"
    assert CALCULATOR.answer(f"<{longest}1>") == f"=error: no call within {MAX_CALL_CHARS} characters\n"


@pytest.mark.timing
@pytest.mark.parametrize(
    ("before", "filling", "behind"), [("<", "9", ">"), ("", "<", ">"), ("<", "(", ">"), ("", ">", "")]
)
def test_a_huge_completion_costs_no_more_than_a_call(before: str, filling: str, behind: str) -> None:
    small, large = (seconds(before + filling * size + behind) for size in (10**4, 10**6))
    assert large < 10 * small  # reading it all would take a hundred times as long


def seconds(text: str) -> float:
    """Of the processor, for a hundred answers; the best of some trials."""

    def trial() -> float:
        started = time.process_time()
        for _ in range(100):
            CALCULATOR.answer(text)
        return time.process_time() - started

    return min(trial() for _ in range(3))


@pytest.mark.parametrize("nested", ["(" * 64, "-" * 64, "-(" * 32, "(" * 31 + "11" + ")" * 31, "-" * 63 + "1"])
def test_nesting_as_deep_as_a_call_allows_is_answered(nested: str) -> None:
    assert len(CALCULATOR.answer(f"<{nested}>")) <= MAX_OBSERVATION_CHARS


def test_an_unknown_tool_is_refused_with_what_exists() -> None:
    with pytest.raises(InvalidInput, match="unknown tool 'abacus'; choose one of calculator"):
        registry.get("abacus")


def test_every_tool_says_what_it_is() -> None:
    assert registry.summaries()["calculator"] == CALCULATOR.summary
    for name, tool in registry.TOOLS.items():
        assert name == tool.name
        assert tool.summary
        assert "\n" not in tool.summary
        assert tool.call_end
