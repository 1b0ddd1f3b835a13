"""What policies of the frontier call the score of a node: which value a run has chosen, and what is not known yet."""

import math
from collections.abc import Sequence
from typing import Literal

from pydantic import Field

from treeroll.policies.branch.steps import StepRates
from treeroll.policies.branch.success import ExpectedSuccess
from treeroll.policies.branch.value import Confidence, Judged, PathConfidence, ValueModel
from treeroll.policy import base
from treeroll.policy.needs import Needs
from treeroll.tree.node import Node
from treeroll.tree.tree import Tree
from treeroll.why import Why, because


def scores(model: ValueModel, nodes: Sequence[Node]) -> list[float] | None:
    """Scores of nodes, in their order; None if nothing is known of any. Ours: one unknown scores as the known do."""
    values = [model.of(node) for node in nodes]
    known = [value for value in values if value is not None]
    if not known:
        return None
    mean = math.fsum(known) / len(known)
    return [mean if value is None else value for value in values]


class Gate:
    """Which of the waiting paths may go on: those that score no less than `least`; all, before anything is known."""

    def __init__(self, values: ValueModel, least: float) -> None:
        """`values` is brought up to date whenever paths are to pass."""
        self._values = values
        self._least = least

    def open_to(self, tree: Tree, waiting: Sequence[Node]) -> list[Node]:
        """The nodes that pass, in the order given.

        Where none passes and there is no leaf yet, the best one does, or the first of them.
        """
        self._values.update(tree)
        known = scores(self._values, waiting)
        if known is None:
            return list(waiting)
        passing = [node for node, score in zip(waiting, known, strict=True) if score >= self._least]
        if passing or tree.leaves:
            return passing
        return [waiting[known.index(max(known))]]

    def why_shut(self, node: Node) -> Why:
        """Of a node that did not pass."""
        return because("gate.shut", score=self._values.of(node) or 0.0, gate=self._least)


class ValueParams(base.Params):
    """Where scores of nodes come from.

    Ours, where sources have a learned model of steps: `confidence` is exp of the mean log probability of the last
    segment, `path_confidence` that of all the tokens of a path so far; `success` the success of the leaves so far at
    and below a node, with that of the node above as prior; `steps` the share of right ones among the arithmetic that
    the path has written; `judge` what the run's judge, a scorer of your own such as a process reward model, says of the
    path so far, from 0 to 1.

    With a `gate`, paths whose score is below it do not go on, as long as others do or a leaf is there.
    """

    value: Literal["confidence", "path_confidence", "success", "steps", "judge"] = Field(
        "confidence", description="what the score of a node is"
    )
    success: float = Field(0.5, ge=-1e6, le=1e6, description="smallest reward that is a success")
    gate: float | None = Field(None, ge=0, le=1, description="score below which a path does not go on; none: all may")

    @property
    def needs(self) -> Needs:
        """What scores come from; and paths of a frontier wait."""
        return Needs(
            hold=True, rewards=self.value == "success", text=self.value == "steps", judge=self.value == "judge"
        )

    def gated(self, values: ValueModel) -> Gate | None:
        """The gate of a tree, by values of this model; None without one."""
        return None if self.gate is None else Gate(values, self.gate)

    def model(self) -> ValueModel:
        """A fresh one, for a tree."""
        match self.value:
            case "confidence":
                return Confidence()
            case "path_confidence":
                return PathConfidence()
            case "success":
                return ExpectedSuccess(self.success)
            case "steps":
                return StepRates()
            case "judge":
                return Judged()
