"""Tests that read a clock are marked `timing`: all others must pass on any machine, however busy."""

import ast
from collections.abc import Iterator
from pathlib import Path

CLOCKS = {"monotonic", "monotonic_ns", "perf_counter", "perf_counter_ns", "process_time", "process_time_ns"}
TESTS = Path(__file__).parents[1]


def unmarked(source: str) -> Iterator[str]:
    """Names of test functions that call a clock and are not marked."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_"):
            called = {call.func.attr for call in ast.walk(node) if _is_method_call(call)}
            marked = any(ast.unparse(mark) == "pytest.mark.timing" for mark in node.decorator_list)
            if called & CLOCKS and not marked:
                yield node.name


def _is_method_call(node: ast.AST) -> bool:
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)


def test_no_other_test_reads_a_clock() -> None:
    files = TESTS.rglob("test_*.py")
    found = {f"{file.name}::{name}" for file in files for name in unmarked(file.read_text("utf-8"))}
    assert found == set()


def test_a_test_that_reads_a_clock_unmarked_is_found() -> None:
    source = "async def test_soon():\n    began = time.monotonic()\n"
    assert list(unmarked(source)) == ["test_soon"]
    assert list(unmarked(f"@pytest.mark.timing\n{source}")) == []
