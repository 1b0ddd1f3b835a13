"""TreePS-RAG: every call of a tool branches, but for those that were told the same as a sibling (arXiv 2601.06922)."""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from operator import attrgetter
from typing import ClassVar

from pydantic import Field

from treeroll.policy import base
from treeroll.policy.base import Expansion, Growth, Limits
from treeroll.policy.needs import Needs
from treeroll.policy.width import MAX_FANOUT, LeafCount, within_leaves
from treeroll.similarity import registry as embedders
from treeroll.similarity.embedder import Embedder, Features, cosine
from treeroll.tree.node import BranchReason, Decision, Node, NodeStatus
from treeroll.tree.tree import Tree
from treeroll.why import Why, because


class TreePSRAG:
    """The prompt, and every step that ends with a call, gets `fanout` children; a step that answers is a leaf.

    Of siblings whose observations are alike only the first goes on: a sibling is redundant if the cosine of its
    observation with that of one before it that goes on is `similarity` or more, both as the embedder has them.

    Siblings wait for each other and for nobody else. Which of them go on depends on what the others were told, so all
    steps but the first are retrospective: only leaves of one step have a path weight, and leaves are for training.

    No code was found, and the paper was read in fragments: children at calls, answers as leaves, and redundancy by the
    likeness of what was retrieved are theirs. Ours: all figures, the embedder, the first in path order stays, and a
    redundant step is not replaced: it remains in the tree, open and in no sample. A step without an observation, as in
    segments that are no agent steps, is never redundant.
    """

    name: ClassVar[str] = "treeps_rag"
    summary: ClassVar[str] = "the same number of children behind every call, without those that were told the same"
    paper: ClassVar[str] = "TreePS-RAG, arXiv 2601.06922"
    explains: ClassVar[Mapping[str, str]] = {
        "treeps_rag.distinct": "of {siblings} siblings no earlier one was told as much the same as {similarity}: "
        "the likeness is {alike} at most",
        "treeps_rag.redundant": "one of its {siblings} siblings was told the same: the likeness of {alike} is not "
        "below {similarity}",
    }
    needs: ClassVar[Needs] = Needs(hold=True)

    class Params(base.Params):
        """The shape of the tree, and what is redundant in it."""

        fanout: int = Field(2, ge=1, le=MAX_FANOUT, description="children of the prompt and of every step with a call")
        similarity: float = Field(0.9, gt=0, le=1, description="least cosine of two observations that are alike")
        embedder: str = Field("ngrams", max_length=64, description="what compares them: see `treeroll policies`")

    def __init__(self, params: Params, limits: Limits) -> None:
        depth = limits.max_depth
        self.leaf_count = LeafCount(
            "fanout ** max_depth",
            lambda fanout: int(fanout**depth),
            {"fanout": params.fanout},
            at=f" at each of max_depth {depth}",
        )
        self.max_leaves = within_leaves(self.name, self.leaf_count, limits)
        self._embedder = embedders.get(params.embedder)
        self._params = params

    def grow(self, tree: Tree) -> Growth:
        """A fresh memory for a new tree."""
        return TreePSRAGGrowth(self._params, self._embedder)


class TreePSRAGGrowth:
    """Collects siblings, and decides about them when the last one has come."""

    def __init__(self, params: TreePSRAG.Params, embedder: Embedder) -> None:
        self._params = params
        self._embedder = embedder
        self._siblings: dict[int, list[Node]] = defaultdict(list)  # parent -> children that have come

    def start(self, tree: Tree) -> list[Expansion]:
        """First branches, all at the prompt."""
        return [Expansion(tree.root.number, self._params.fanout, BranchReason.INITIAL, resume=False)]

    def on_node(self, tree: Tree, node: Node) -> list[Expansion]:
        """Decides about the node and its siblings, if it is the last of them."""
        siblings = self._siblings[node.parent]
        siblings.append(node)
        if len(siblings) < self._params.fanout:
            return []
        del self._siblings[node.parent]
        return [
            Expansion(number, forks, BranchReason.FORK, Decision.RETROSPECTIVE, resume=distinct, why=why)
            for number, distinct, forks, why in self._judged(sorted(siblings, key=attrgetter("sibling_index")))
        ]

    def on_idle(self, tree: Tree) -> list[Expansion]:
        """Nothing is made up for."""
        return []

    def _judged(self, siblings: list[Node]) -> Iterator[tuple[int, bool, int, Why]]:
        """Node, whether it goes on, its forks, and why."""
        told: list[Features] = []
        for node in siblings:
            if node.status is not NodeStatus.INNER:
                continue
            alike = 0.0
            if node.observation is not None:
                answer = self._embedder.embed(node.observation.text)
                alike = max((cosine(answer, other) for other in told), default=0.0)
                if alike < self._params.similarity:
                    told.append(answer)
            terms = {"alike": alike, "similarity": self._params.similarity, "siblings": len(siblings)}
            if alike < self._params.similarity:
                yield node.number, True, self._params.fanout - 1, because("treeps_rag.distinct", **terms)
            else:
                yield node.number, False, 0, because("treeps_rag.redundant", **terms)
