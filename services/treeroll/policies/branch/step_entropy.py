"""How unsure the model was when it began a step, and whether it is more so than at first (ARPO, AEPO)."""

import math
from collections.abc import Iterable

from pydantic import Field

from treeroll.policy import base
from treeroll.tree.node import Node
from treeroll.tree.tree import Tree


class StepEntropyParams(base.Params):
    """How the entropy of a step is taken."""

    window: int = Field(20, ge=1, le=4096, description="first tokens of a step whose entropies are added up")
    vocabulary: int = Field(150_000, ge=2, description="tokens that the model knows; entropies are divided by its ln")


def step_entropy(params: StepEntropyParams, node: Node) -> float:
    """Sum of the entropies of the step's first sampled tokens, divided by ln(vocabulary): 0..window.

    A sum, as in ARPO's release, so short steps have less of it. Its observation does not count: nobody sampled it.
    """
    first: Iterable[float] = node.tokens.entropies[: min(params.window, node.sampled)] if node.tokens else ()
    return math.fsum(first) / math.log(params.vocabulary)


def entropy_change(params: StepEntropyParams, tree: Tree, node: Node) -> float:
    """dH: the step's entropy, less that of the first step on its path; 0 at a first step.

    The first step is found by walking up, so a baseline belongs to a path and cannot outlive it.
    """
    return step_entropy(params, node) - step_entropy(params, tree.lineage(node.number)[0])
