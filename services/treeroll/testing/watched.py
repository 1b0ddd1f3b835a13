"""A branch policy under observation: what it decides must be well formed, and it must leave the tree alone."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from operator import attrgetter
from typing import Any

from treeroll.policy.base import MAX_TEMPERATURE_SCALE, Expansion, Growth
from treeroll.policy.needs import Needs
from treeroll.testing.case import Case, declares
from treeroll.testing.observed import ObservedPolicy
from treeroll.tree.node import BranchReason, Decision, Node, NodeStatus
from treeroll.tree.tree import Tree

# A tree that starts this many branches for each leaf it may have replaces discarded paths for ever.
BRANCHES_PER_LEAF = 32
NODE = attrgetter(*Node.__struct_fields__)


@dataclass(frozen=True, slots=True)
class WatchedPolicy(ObservedPolicy):
    """Does what the policy does, and raises NotConformant where that breaks the protocol."""

    case: Case
    raised: list[Exception] = field(default_factory=list)
    """What came of it: the core ends the tree and goes on."""

    def grow(self, tree: Tree) -> "WatchedGrowth":
        """The policy's memory, watched."""
        branches = BRANCHES_PER_LEAF * (self.max_leaves + 1)
        return WatchedGrowth(self.case, self.policy.grow(tree), branches, self.needs, self.raised)


@dataclass(slots=True)
class WatchedGrowth:
    """One tree."""

    case: Case
    growth: Growth
    branches_left: int
    needs: Needs
    raised: list[Exception]

    def start(self, tree: Tree) -> list[Expansion]:
        """First branches."""
        before = _picture(tree)
        expansions = self._checked(tree, before, self.growth.start(tree))
        kept = bool(expansions) and {expansion.node for expansion in expansions} == {tree.root.number}
        self.case.require(kept, "Expansions", "starts a tree with no branch, or elsewhere than at its root")
        return expansions

    def on_node(self, tree: Tree, node: Node) -> list[Expansion]:
        """A node came."""
        with self._noted():
            before = _picture(tree)
            return self._checked(tree, before, self.growth.on_node(tree, node))

    def on_idle(self, tree: Tree) -> list[Expansion]:
        """Nothing runs."""
        with self._noted():
            before = _picture(tree)
            return self._checked(tree, before, self.growth.on_idle(tree))

    @contextmanager
    def _noted(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            self.raised.append(error)
            raise

    def _checked(self, tree: Tree, before: object, expansions: list[Expansion]) -> list[Expansion]:
        self.case.require(_picture(tree) == before, "ReadsOnly", "changes the tree it is shown")
        for expansion in expansions:
            for flaw in _flaws(tree, expansion):
                raise self.case.broken("Expansions", flaw)
            for flaw in _undeclared(self.needs, expansion):
                raise self.case.broken("Needs", flaw)
            self.branches_left -= expansion.forks
        kept = self.branches_left >= 0
        self.case.require(kept, "Ends", f"starts more than {BRANCHES_PER_LEAF} branches for each leaf a tree may have")
        return expansions


def _flaws(tree: Tree, expansion: Any) -> list[str]:
    if expansion.node not in range(len(tree.nodes)):
        return [f"expands node {expansion.node!r}, and there is none"]
    flaws = []
    node = tree.nodes[expansion.node]
    if expansion.split_at is None and node.status is not NodeStatus.INNER:
        flaws.append(f"expands node {expansion.node}, where the path has ended")
    if expansion.split_at is not None and (node.number == 0 or expansion.split_at not in node.own[1:]):
        flaws.append(f"splits node {expansion.node} of {node.n_tokens} tokens after {expansion.split_at!r}")
    if not isinstance(expansion.forks, int) or expansion.forks < 0:
        flaws.append(f"asks for {expansion.forks!r} forks")
    if not isinstance(expansion.reason, BranchReason) or not isinstance(expansion.decision, Decision):
        flaws.append(f"gives {expansion.reason!r} as reason and {expansion.decision!r} as decision")
    if not isinstance(expansion.group, int) or expansion.group < 0:
        flaws.append(f"gives {expansion.group!r} as group")
    if not 0 < expansion.temperature_scale <= MAX_TEMPERATURE_SCALE:
        flaws.append(f"gives {expansion.temperature_scale!r} as temperature_scale, not above 0 and up to 10")
    if expansion.max_tokens is not None and (not isinstance(expansion.max_tokens, int) or expansion.max_tokens < 1):
        flaws.append(f"gives {expansion.max_tokens!r} as max_tokens")
    return flaws


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
