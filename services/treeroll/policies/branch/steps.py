"""Arithmetic that a path has written, checked: what process rewards would say of the demo model's answers."""

import re
from dataclasses import dataclass
from typing import Final

from treeroll.tools.calculator import Calculator
from treeroll.tree.node import Node, NodeStatus
from treeroll.tree.tree import Tree

# A step is an expression of two numbers or more, "=", and a number; ">" ends a call that the calculator answers. All
# repeats are bounded, so that no text takes long.
_NUMBER: Final = r"\({0,4}[0-9]{1,20}\){0,4}"
STEP: Final = re.compile(
    rf"(?<![\w.*+-])(-?{_NUMBER}(?: ?[-+*] ?{_NUMBER}){{1,8}})>? ?= ?(-?[0-9]{{1,40}})(?![0-9]|[.,][0-9])"
)
# Characters before a segment that a step may have begun in; it stands on one line.
LINE_CHARS: Final = 256


@dataclass(frozen=True, slots=True)
class Written:
    """The steps on a path, and the end of its text that may be the beginning of one."""

    right: int = 0
    steps: int = 0
    rest: str = ""


class StepRates:
    """A ValueModel: the share of the steps written on the path to a node that are right, None if it has written none.

    A step is an equation such as `4*6=24` of integers, sums, differences, products and parentheses; other text is no
    step, and is not judged. It counts once it is whole: at the end of a segment the next one may add a digit to it.

    Ours, where a source has a learned model of steps: it sees slips of arithmetic, not whether a step leads anywhere.
    """

    def __init__(self) -> None:
        self._calculator = Calculator()
        self._written = [Written()]

    def update(self, tree: Tree) -> set[int]:
        """Read the nodes that came since the last call; the values of others never change."""
        new = tree.nodes[len(self._written) :]
        for node in new:
            self._written.append(self._read(self._written[node.parent], node))
        return {node.number for node in new}

    def of(self, node: Node) -> float | None:
        """0..1."""
        written = self._written[node.number]
        return written.right / written.steps if written.steps else None

    def _read(self, before: Written, node: Node) -> Written:
        text = before.rest + (node.text or "")
        right, steps, read = before.right, before.steps, 0
        for step in STEP.finditer(text):
            if step.end() == len(text) and node.status is NodeStatus.INNER:
                break
            read = step.end()
            expression, result = step.groups()
            # Parentheses around the whole equation are not the expression's.
            surplus = max(0, expression.count("(") - expression.count(")"))
            value = self._calculator.answer(f"<{expression[surplus:]}>")
            if not value.startswith("=error"):
                right += value == f"={result}\n"
                steps += 1
        return Written(right, steps, text[read:].rpartition("\n")[2][-LINE_CHARS:])
