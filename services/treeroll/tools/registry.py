"""Every tool, by name. The only place that knows them all."""

from collections.abc import Mapping
from typing import Final

from treeroll.errors import InvalidInput
from treeroll.tools.base import Tool
from treeroll.tools.calculator import Calculator

TOOLS: Final[Mapping[str, Tool]] = {tool.name: tool for tool in (Calculator(),)}


def get(name: str) -> Tool:
    """The tool a run names. InvalidInput if there is none, naming what exists."""
    if name not in TOOLS:
        raise InvalidInput(f"unknown tool '{name[:200]}'; choose one of {', '.join(TOOLS)}")
    return TOOLS[name]


def summaries() -> dict[str, str]:
    """Name and one-line summary of every tool, for people."""
    return {name: tool.summary for name, tool in TOOLS.items()}
