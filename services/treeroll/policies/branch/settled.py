"""Subtrees that need no more leaves, because those they have say enough: parameters that growths share, and the test.

Off by default, so that growths are as published.
"""

from pydantic import Field

from treeroll.policies.branch.success import SuccessRates
from treeroll.policy import base
from treeroll.policy.width import MAX_FANOUT
from treeroll.tree.node import Node
from treeroll.tree.tree import Tree


class SettledParams(base.Params):
    """When a subtree is settled.

    Ours: a growth that reads rewards expands no node at or below which at least `settled_after` leaves have a reward,
    if all of them succeeded, or if no more than a share of `settled_at_most` did; nor anything below such a node.
    Nothing beats what always succeeds, and hopeless places cost tokens.
    """

    settled_after: int = Field(0, ge=0, le=MAX_FANOUT, description="scored leaves that settle a subtree; 0 is never")
    settled_at_most: float = Field(0.0, ge=0, le=1, description="largest share of successes of a hopeless subtree")


class Settled:
    """Reads the growth's success rates, which it must have updated."""

    def __init__(self, params: SettledParams, rates: SuccessRates) -> None:
        self._params = params
        self._rates = rates

    @property
    def possible(self) -> bool:
        """Whether anything can be settled at all."""
        return self._params.settled_after > 0

    def here(self, node: Node) -> bool:
        """Whether the leaves at and below this node settle it."""
        if not self.possible or self._rates.scored(node) < self._params.settled_after:
            return False
        rate = self._rates.of(node)
        return rate is not None and (rate == 1 or rate <= self._params.settled_at_most)

    def above(self, tree: Tree, node: Node) -> bool:
        """Whether this node, or one above it, is settled."""
        if not self.possible:
            return False
        while not self.here(node):
            if not node.number:
                return False
            node = tree.nodes[node.parent]
        return True
