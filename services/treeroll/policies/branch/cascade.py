"""Segments that one model was unsure of are grown again by a larger one."""

from collections.abc import Mapping
from typing import ClassVar

from pydantic import Field

from treeroll.policy import base
from treeroll.policy.base import Expansion, Limits
from treeroll.policy.needs import Needs
from treeroll.tree.node import BranchReason, Decision, Node, NodeStatus
from treeroll.tree.tree import Tree
from treeroll.why import because


class Cascade:
    """`leaves` samples from the prompt, each of which the model `large` helps over the segments that went badly.

    A segment of the tree's own model went badly if the mean surprisal of its tokens (-log probability, nats) is above
    `surprisal`. It is dropped, and `large` makes one in its place; behind that the tree's model goes on. On each path
    `large` makes at most `calls` segments, the hard cap of budget-aware agentic routing; after that, all go on. What
    ends a path is not grown again.

    Of the source: a choice of model at each step, and the cap on calls of the large one. Ours: the test, for the
    source trains a router, and its threshold; `calls` is the lowest of the source's three caps.

    Dropped segments stay in the tree, open and in no sample, and count as censored, as do the large model's paths where
    the tree's model takes over. Leaves behind a segment of `large` have path weight 0.
    """

    name: ClassVar[str] = "cascade"
    summary: ClassVar[str] = "independent samples; segments that the model is unsure of are grown again by a larger one"
    paper: ClassVar[str] = "ours, after Budget-aware agentic routing, arXiv 2602.21227"
    explains: ClassVar[Mapping[str, str]] = {
        "cascade.again": "a segment's mean surprisal of {surprisal} is above {bound} nats, so the large model grows "
        "it again (it has made {calls} of at most {most} on the path)",
        "cascade.back": "the large model has made its segment, number {calls} of at most {most}, and the tree's own "
        "goes on",
    }

    class Params(base.Params):
        """Who helps, when, and how often."""

        large: str = Field("large", min_length=1, description="the model that grows segments again")
        surprisal: float = Field(
            0.5,
            ge=0,
            allow_inf_nan=False,
            description="mean surprisal (nats per token) above which a segment is dropped",
        )
        calls: int = Field(5, ge=1, le=1024, description="most segments of a path that the large model makes")

    def __init__(self, params: Params, limits: Limits) -> None:
        self.params = params
        self.needs = Needs(hold=True, models=(params.large,))
        self.max_leaves = limits.leaves

    def grow(self, tree: Tree) -> "CascadeGrowth":
        """No memory: all that counts is in the path."""
        return CascadeGrowth(self.params, self.max_leaves)


class CascadeGrowth:
    """Decides about each segment when it comes."""

    def __init__(self, params: Cascade.Params, leaves: int) -> None:
        self._params = params
        self._leaves = leaves

    def start(self, tree: Tree) -> list[Expansion]:
        """All samples at once."""
        return [Expansion(tree.root.number, self._leaves, BranchReason.INITIAL)]

    def on_node(self, tree: Tree, node: Node) -> list[Expansion]:
        """Go on, take back, or give back."""
        if node.status is not NodeStatus.INNER:
            return []
        if _helped(node):
            why = because("cascade.back", calls=self._calls(tree, node) + 1, most=self._params.calls)
            return [Expansion(node.number, 1, resume=False, why=why)]
        if self._went_badly(node) and self._calls(tree, node) < self._params.calls:
            return [self._again(node, self._calls(tree, node))]
        return [Expansion(node.number, 0)]

    def on_idle(self, tree: Tree) -> list[Expansion]:
        """All samples have ended."""
        return []

    def _went_badly(self, node: Node) -> bool:
        return -node.logprob_sum > self._params.surprisal * node.sampled

    def _calls(self, tree: Tree, node: Node) -> int:
        return sum(map(_helped, tree.lineage(node.parent)))

    def _again(self, node: Node, calls: int) -> Expansion:
        """It has read what came behind the place where it begins."""
        surprisal = -node.logprob_sum / max(node.sampled, 1)
        bounds = {"surprisal": surprisal, "bound": self._params.surprisal, "calls": calls, "most": self._params.calls}
        return Expansion(
            node.parent,
            1,
            BranchReason.FALLBACK,
            Decision.RETROSPECTIVE,
            resume=False,
            model=self._params.large,
            why=because("cascade.again", **bounds),
        )


def _helped(node: Node) -> bool:
    """Whether the segment was grown again; also where the tree's own model is the large one."""
    return node.branch_reason is BranchReason.FALLBACK
