"""Our sources hold no unsafe deserialisation and no checks that `python -O` would remove."""

import ast
from pathlib import Path

import pytest

SOURCES = sorted(
    path for path in (Path(__file__).parents[2] / "services").rglob("*.py") if "pb" not in path.relative_to(
        Path(__file__).parents[2] / "services"
    ).parts
)  # fmt: skip
FORBIDDEN_MODULES = {"pickle", "cloudpickle", "marshal", "shelve", "dill"}
FORBIDDEN_CALLS = {"eval", "exec", "yaml.load", "torch.load"}


def findings(tree: ast.AST) -> list[str]:
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Assert):
            found.append(f"line {node.lineno}: assert")
        if isinstance(node, ast.Import):
            found += [f"line {node.lineno}: import {a.name}" for a in node.names if a.name in FORBIDDEN_MODULES]
        if isinstance(node, ast.ImportFrom) and node.module in FORBIDDEN_MODULES:
            found.append(f"line {node.lineno}: from {node.module} import")
        if isinstance(node, ast.Call) and ast.unparse(node.func) in FORBIDDEN_CALLS and not _of_weights_only(node):
            found.append(f"line {node.lineno}: {ast.unparse(node.func)}(...)")
    return found


def _of_weights_only(call: ast.Call) -> bool:
    """torch.load that makes nothing but tensors and plain values."""
    return ast.unparse(call.func) == "torch.load" and "weights_only=True" in map(ast.unparse, call.keywords)


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.name)
def test_no_unsafe_calls_and_no_assert_as_a_check(path: Path) -> None:
    assert findings(ast.parse(path.read_text())) == []


def test_the_scan_would_notice() -> None:
    bad = "import pickle\nassert x\neval('1')\nyaml.load(f)\ntorch.load(f)\ntorch.load(f, weights_only=False)\n"
    assert len(findings(ast.parse(bad))) == 6
