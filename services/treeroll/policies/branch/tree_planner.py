"""A token trie of whole answers, and new ones from where it branches."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from heapq import nsmallest
from typing import ClassVar

from pydantic import Field

from treeroll.policy import base
from treeroll.policy.base import Expansion, Growth, Limits
from treeroll.policy.needs import Needs
from treeroll.policy.width import MAX_FANOUT, LeafCount, within_leaves
from treeroll.tree.node import BranchReason, Decision
from treeroll.tree.tree import Tree
from treeroll.why import because

ID_BYTES = 4


class TreePlanner:
    """N answers run to their ends and are merged where their first tokens are equal; new ones start where they part.

    Token for token equal beginnings are one path of the trie. Where k answers share their first n tokens and then
    differ, merging saves (k - 1) * n tokens; the K places that save most get B new answers each. In all N + K * B
    leaves at most; fewer where answers part in fewer places, and N where no two begin with the same token.

    A place is found by reading finished answers, so it is retrospective: path weights of later answers are 0, and the N
    first ones alone estimate the policy's mean reward.

    From Tree-Planner's code is what comes first: whole plans are sampled at once, and merged into a tree by equal
    beginnings, there of actions (lines of text), here of tokens. It then walks down that tree: at each fork the model
    is asked which action to take, the environment carries it out, and what fails is left out and decided again. Nothing
    is sampled anew there. Ours: all of that is left out, and new answers begin where the tree forks, at the places that
    save most. The trie chooses places only: answers stay nodes of their own, also where their tokens are equal. The
    prompt is no place, nor is one within what a tool answered. Equal savings go to the first place in path order.
    Discarded answers are not in the trie.
    """

    name: ClassVar[str] = "tree_planner"
    summary: ClassVar[str] = "whole answers, then new ones from where those with equal beginnings part"
    paper: ClassVar[str] = "ours, after Tree-Planner, arXiv 2310.08582"
    explains: ClassVar[Mapping[str, str]] = {
        "tree_planner.parting": "{answers} answers share their first {shared} tokens and part here, which is place "
        "{rank} by the tokens that are saved",
    }
    needs: ClassVar[Needs] = Needs(tokens=True)

    class Params(base.Params):
        """How many answers, and from where."""

        samples: int = Field(8, ge=1, le=MAX_FANOUT, description="N, first answers")
        places: int = Field(4, ge=0, le=MAX_FANOUT, description="K, places where the trie branches")
        forks: int = Field(2, ge=1, le=MAX_FANOUT, description="B, new answers at each")

    def __init__(self, params: Params, limits: Limits) -> None:
        self.leaf_count = LeafCount(
            "samples + places * forks",
            lambda samples, places, forks: samples + places * forks,
            {"samples": params.samples, "places": params.places, "forks": params.forks},
        )
        self.max_leaves = within_leaves(self.name, self.leaf_count, limits)
        self._params = params

    def grow(self, tree: Tree) -> Growth:
        """A fresh memory for a new tree."""
        return TreePlannerGrowth(self._params)


class TreePlannerGrowth(base.Growth):
    """Lets answers run on, and merges them when all have ended."""

    def __init__(self, params: TreePlanner.Params) -> None:
        self._params = params
        self._merged = False

    def start(self, tree: Tree) -> list[Expansion]:
        """The N answers."""
        return [Expansion(tree.root.number, self._params.samples, BranchReason.INITIAL, resume=False)]

    def on_idle(self, tree: Tree) -> list[Expansion]:
        """New answers, once. Every path has ended, so arrival has left no trace."""
        if self._merged:
            return []
        self._merged = True
        leaves = tree.in_path_order(tree.leaves)
        answers = [_token_bytes(tree, leaf) for leaf in leaves]
        places: list[tuple[int, int, int, int, Expansion]] = []
        for shared, members in partings(answers):
            onward = min(member for member in members if len(answers[member]) > shared * ID_BYTES)
            if expansion := self._at(tree, leaves[onward], tree.root.total + shared):
                places.append((-shared * (len(members) - 1), onward, shared, len(members), expansion))
        best = nsmallest(self._params.places, places, key=lambda place: place[:3])
        return [
            replace(expansion, why=because("tree_planner.parting", answers=members, shared=shared, rank=rank))
            for rank, (_, _, shared, members, expansion) in enumerate(best, 1)
        ]

    def _at(self, tree: Tree, leaf: int, total: int) -> Expansion | None:
        """New answers behind the first `total` tokens of a longer path; None within a tool's answer."""
        node = tree.nodes[leaf]
        while node.token_start >= total:
            node = tree.nodes[node.parent]
        kept = total - node.token_start
        if node.sampled <= kept < node.n_tokens:
            return None
        split_at = kept if kept < node.n_tokens else None
        return Expansion(
            node.number, self._params.forks, BranchReason.FORK, Decision.RETROSPECTIVE, resume=False, split_at=split_at
        )


def partings(answers: Sequence[bytes]) -> Iterator[tuple[int, list[int]]]:
    """Where answers with equal beginnings part: tokens they share, at least one, and their indices.

    An answer is its token ids, ID_BYTES each. Some index is of an answer that goes on.
    """
    spans = [sorted(range(len(answers)), key=answers.__getitem__)]
    while spans:
        span = spans.pop()
        shared = _shared(answers[span[0]], answers[span[-1]]) if span else 0
        next_token = slice(shared * ID_BYTES, (shared + 1) * ID_BYTES)
        groups: dict[bytes, list[int]] = defaultdict(list)
        for index in span:
            groups[answers[index][next_token]].append(index)
        if shared and len(groups) > 1:
            yield shared, span
        spans += [group for token, group in groups.items() if token and len(group) > 1]


def _shared(one: bytes, other: bytes) -> int:
    """Tokens that both begin with."""
    low, high = 0, min(len(one), len(other)) // ID_BYTES
    while low < high:
        middle = (low + high + 1) // 2
        if one[: middle * ID_BYTES] == other[: middle * ID_BYTES]:
            low = middle
        else:
            high = middle - 1
    return low


def _token_bytes(tree: Tree, leaf: int) -> bytes:
    return tree.tokens_before(leaf, tree.nodes[leaf].total, tree.completion_tokens(leaf)).ids.tobytes()
