"""TreeRL's EPTree: whole answers, then new ones from before their most surprising tokens (arXiv 2506.11902)."""

from bisect import insort
from collections.abc import Iterator, Mapping
from heapq import nsmallest
from typing import ClassVar

from pydantic import Field

from treeroll.policy import base
from treeroll.policy.base import Expansion, Growth, Limits
from treeroll.policy.needs import Needs
from treeroll.policy.width import MAX_FANOUT, LeafCount, within_leaves
from treeroll.tree.node import BranchReason, Decision, Node, NodeStatus
from treeroll.tree.tree import Tree
from treeroll.why import Why, because

# A token by (log probability, path of its node, position in it, node): the smallest is the most surprising.
Candidate = tuple[float, tuple[int, ...], int, int]


class TreeRL:
    """M answers run to their ends, each the trunk of a tree; then, L times, T new ones start at N places of each tree.

    The places are before the N sampled tokens of the tree with the lowest log probability, whichever nodes they are in
    (the release's stand-in for entropy). The first token of a branch that started at such a place is never one of them,
    and nothing is that comes after a token of `stop_token_ids` on its path. The first token of a first answer may be:
    new answers then start at the prompt, and belong to the tree of that answer. Nodes of tree m have group m, from 1.
    In all M * (1 + N * L * T) leaves; (M, N, L, T) = (6, 2, 1, 2), the released script's, give 30, of which training
    takes 16.

    A place is found by reading the finished continuation, so it is retrospective: path weights of later answers are 0,
    and the M first ones alone estimate the policy's mean reward.

    Ours: a place is taken once; equal log probabilities go by path and position. A round waits for all trees of the
    task, and it has fewer places where paths are too short to have more. The release masks what follows a token whose
    text contains "conclusion" or "answer"; here the token ids are named, because a text may be many tokens. Its filter
    that spreads places apart is left out.
    """

    name: ClassVar[str] = "treerl"
    summary: ClassVar[str] = "whole answers, then new ones from before their most surprising tokens"
    paper: ClassVar[str] = "TreeRL, arXiv 2506.11902"
    explains: ClassVar[Mapping[str, str]] = {
        "treerl.token": "round {round} begins before a token of log probability {logprob}, number {rank} of the "
        "{places} most surprising of its tree",
    }
    needs: ClassVar[Needs] = Needs(tokens=True)

    class Params(base.Params):
        """How many answers, and from where."""

        chains: int = Field(6, ge=1, le=MAX_FANOUT, description="M, first answers; each is the trunk of a tree")
        places: int = Field(2, ge=1, le=MAX_FANOUT, description="N, places per tree and round")
        rounds: int = Field(1, ge=0, le=MAX_FANOUT, description="L, rounds of new answers")
        forks: int = Field(2, ge=1, le=MAX_FANOUT, description="T, new answers per place")
        stop_token_ids: tuple[int, ...] = Field((), max_length=256, description="no places after one of these tokens")

    def __init__(self, params: Params, limits: Limits) -> None:
        self.leaf_count = LeafCount(
            "chains * (1 + places * rounds * forks)",
            lambda chains, places, rounds, forks: chains * (1 + places * rounds * forks),
            {"chains": params.chains, "places": params.places, "rounds": params.rounds, "forks": params.forks},
        )
        self.max_leaves = within_leaves(self.name, self.leaf_count, limits)
        self._params = params

    def grow(self, tree: Tree) -> Growth:
        """A fresh memory for a new tree."""
        return TreeRLGrowth(self._params)


class TreeRLGrowth:
    """Lets answers run on, keeps the most surprising tokens of each node, and starts a round when all have ended."""

    def __init__(self, params: TreeRL.Params) -> None:
        self._params = params
        self._round = 0
        self._stops = frozenset(params.stop_token_ids)
        self._wanted = params.places * params.rounds  # most that any node can still give
        self._best: dict[int, list[Candidate]] = {}  # tree, by its group -> in order
        self._closed: set[int] = set()  # nodes that end behind a stop token

    def start(self, tree: Tree) -> list[Expansion]:
        """The M answers."""
        chains = range(1, self._params.chains + 1)
        return [Expansion(tree.root.number, 1, BranchReason.INITIAL, group=chain, resume=False) for chain in chains]

    def on_node(self, tree: Tree, node: Node) -> list[Expansion]:
        """Nothing to decide yet."""
        if self._wanted and node.status is not NodeStatus.PRUNED:
            path = tree.path(node.number)
            best = self._best.setdefault(node.group, [])
            for logprob, position in self._surprising(tree, node):
                insort(best, (logprob, path, position, node.number))
            del best[self._wanted :]
        return []

    def on_idle(self, tree: Tree) -> list[Expansion]:
        """The next round, if there is one. Every path has ended, so arrival has left no trace."""
        if self._round == self._params.rounds:
            return []
        self._round += 1
        expansions = []
        for _, best in sorted(self._best.items()):
            for rank, (logprob, _, position, number) in enumerate(best[: self._params.places], 1):
                terms = {"round": self._round, "logprob": logprob, "rank": rank, "places": self._params.places}
                expansions.append(self._at(tree.nodes[number], position, because("treerl.token", **terms)))
            del best[: self._params.places]
        return expansions

    def _at(self, node: Node, position: int, why: Why) -> Expansion:
        """New answers from before a token; the first token of a node follows its whole parent."""
        number, split_at = (node.number, position) if position else (node.parent, None)
        return Expansion(
            number,
            self._params.forks,
            BranchReason.FORK,
            Decision.RETROSPECTIVE,
            node.group,
            resume=False,
            split_at=split_at,
            why=why,
        )

    def _surprising(self, tree: Tree, node: Node) -> Iterator[tuple[float, int]]:
        """Log probability and position of the node's most surprising tokens before any stop token."""
        tokens = node.tokens
        if tokens is None:
            return
        # A place is never behind a stop token, so a node that begins inside its parent has none above it.
        if node.parent in self._closed and node.token_start == tree.nodes[node.parent].total:
            self._closed.add(node.number)
            return
        stop = next((at for at, token in enumerate(tokens.ids) if token in self._stops), None) if self._stops else None
        if stop is not None:
            self._closed.add(node.number)
        positions = range(int(self._begins_fork(tree, node)), node.sampled if stop is None else stop + 1)
        for position in nsmallest(self._wanted, positions, key=tokens.logprobs.__getitem__):
            yield tokens.logprobs[position], position

    def _begins_fork(self, tree: Tree, node: Node) -> bool:
        """Whether its first token was sampled anew at a place; the M answers began nowhere but at the prompt."""
        trunk = node.parent == 0 and node.sibling_index < self._params.chains
        return not trunk and (node.sibling_index > 0 or node.token_start < tree.nodes[node.parent].total)
