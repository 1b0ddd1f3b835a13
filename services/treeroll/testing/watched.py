"""A branch policy under observation: what it decides must be well formed, and it must leave the tree alone."""

from collections.abc import Iterator
from dataclasses import dataclass
from operator import attrgetter

from treeroll.core.guard.expansions import flaw_of
from treeroll.policy.base import Expansion, Growth
from treeroll.policy.needs import Needs
from treeroll.testing.case import Case, declares
from treeroll.testing.observed import ObservedPolicy
from treeroll.tree.node import BranchReason, Node
from treeroll.tree.tree import Tree

# A tree that starts this many branches for each leaf it may have replaces discarded paths for ever.
BRANCHES_PER_LEAF = 32
NODE = attrgetter(*Node.__struct_fields__)


@dataclass(frozen=True, slots=True)
class WatchedPolicy(ObservedPolicy):
    """Does what the policy does, and raises NotConformant where that breaks the protocol."""

    case: Case

    def grow(self, tree: Tree) -> "WatchedGrowth":
        """The policy's memory, watched."""
        branches = BRANCHES_PER_LEAF * (self.max_leaves + 1)
        return WatchedGrowth(self.case, self.policy.grow(tree), branches, self.needs)


@dataclass(slots=True)
class WatchedGrowth:
    """One tree."""

    case: Case
    growth: Growth
    branches_left: int
    needs: Needs

    def start(self, tree: Tree) -> list[Expansion]:
        """First branches."""
        before = _picture(tree)
        expansions = self._checked(tree, before, self.growth.start(tree))
        kept = bool(expansions) and {expansion.node for expansion in expansions} == {tree.root.number}
        self.case.require(kept, "Expansions", "starts a tree with no branch, or elsewhere than at its root")
        return expansions

    def on_node(self, tree: Tree, node: Node) -> list[Expansion]:
        """A node came."""
        before = _picture(tree)
        return self._checked(tree, before, self.growth.on_node(tree, node))

    def on_idle(self, tree: Tree) -> list[Expansion]:
        """Nothing runs."""
        before = _picture(tree)
        return self._checked(tree, before, self.growth.on_idle(tree))

    def _checked(self, tree: Tree, before: object, expansions: list[Expansion]) -> list[Expansion]:
        self.case.require(_picture(tree) == before, "ReadsOnly", "changes the tree it is shown")
        for expansion in expansions:
            for flaw in _undeclared(self.needs, expansion):
                raise self.case.broken("Needs", flaw)
            if flaw := flaw_of(tree, expansion):
                raise self.case.broken("Expansions", flaw)
            if expansion.forks and expansion.reason is not BranchReason.INITIAL:
                self.case.check_why(expansion.why, f"starts {expansion.forks} branches at node {expansion.node}")
            self.branches_left -= expansion.forks
        kept = self.branches_left >= 0
        self.case.require(kept, "Ends", f"starts more than {BRANCHES_PER_LEAF} branches for each leaf a tree may have")
        return expansions


def _undeclared(needs: Needs, expansion: Expansion) -> Iterator[str]:
    if expansion.model not in ("", *needs.models):
        yield f"names model {expansion.model!r}, and does not have it in needs.models"
    if not declares(needs, expansion.insert):
        yield f"inserts {expansion.insert!r}, and does not have it in needs.inserts"
    if expansion.split_at is not None and not needs.tokens:
        yield f"splits node {expansion.node}, and does not have needs.tokens"


def _picture(tree: Tree) -> object:
    return (
        (*map(NODE, tree.nodes),),
        (*tree.leaves,),
        (*tree.pruned,),
        (*tree.rewards.items(),),
        (*tree.values.items(),),
        (*tree.splits.items(),),
    )
