"""Caps of a run's budget, checked against what its trees have used, counted again node by node."""

import json
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field

from treeroll.core.model.budget import overshoot
from treeroll.invariants import Finding, Invariant
from treeroll.pb.v1 import common_pb2 as pb
from treeroll.pb.v1 import rollout_pb2 as api
from treeroll.tree.node import BranchReason, NodeStatus


@dataclass(slots=True)
class Spent:
    """Tokens of an account, and how many of them engines decoded beyond what was reserved."""

    tokens: int = 0
    excess: int = 0

    def above(self, cap: int | None) -> bool:
        """Whether the account is above its cap by more than the declared overshoot."""
        return cap is not None and self.tokens > cap + self.excess


@dataclass(slots=True)
class Caps:
    """The caps of one run, and what its trees have used so far."""

    run: api.Run
    leaves_per_tree: int | None = None
    tree_tokens: int | None = None
    task_tokens: int | None = None
    used: dict[str, int] = field(default_factory=lambda: {"leaves": 0, "expansions": 0, "tool_calls": 0})
    tasks: dict[str, Spent] = field(default_factory=lambda: defaultdict(Spent))

    @classmethod
    def of(cls, run: api.Run) -> "Caps":
        """How much the run's record says that it used."""
        config = json.loads(run.config_json or "{}")
        budget = config.get("budget") or {}
        return cls(run, config.get("leaves"), budget.get("tree_tokens"), budget.get("task_tokens"))

    def add(self, tree: pb.Tree) -> Iterator[Finding]:
        """Count a tree, growing or ended; yields what it broke by itself."""
        leaves = sum(node.status == NodeStatus.LEAF for node in tree.nodes)
        self.used["leaves"] += leaves
        self.used["expansions"] += sum(map(_expanded, tree.nodes))
        self.used["tool_calls"] += sum(node.observation_tokens > 0 for node in tree.nodes)
        allowed = tree.allotted_leaves or self.leaves_per_tree
        if allowed is not None and leaves > allowed:
            yield Invariant.TREE_WELL_FORMED, f"tree {tree.tree_id} has {leaves} leaves and may have {allowed}"
        own = Spent(tree.ledger.spent, tree.ledger.excess)
        if own.above(self.tree_tokens):
            yield (
                Invariant.TOKENS_CONSERVED,
                f"tree {tree.tree_id} spent {own.tokens} tokens and may spend {self.tree_tokens}",
            )
        # A branch is overrun at most once, where its path ends.
        if own.excess > (most := overshoot(sum(map(_begins, tree.nodes)) + tree.n_censored)):
            yield (
                Invariant.TOKENS_CONSERVED,
                f"tree {tree.tree_id}: {own.excess} tokens overran reservations, {most} may",
            )
        task = self.tasks[tree.task_id]
        task.tokens += own.tokens
        task.excess += own.excess

    def findings(self, ended: bool) -> Iterator[Finding]:
        """What the run broke. Counts of a run that goes on may be newer than its record, but not above a cap."""
        name = f"run {self.run.run_id}"
        for task_id, spent in self.tasks.items():
            if spent.above(self.task_tokens):
                yield (
                    Invariant.TOKENS_CONSERVED,
                    f"{name}: task {task_id} spent {spent.tokens} tokens and may spend {self.task_tokens}",
                )
        for cap in self.run.caps:
            excess = self.run.ledger.excess if cap.resource == "tokens" else 0
            if cap.spent + cap.outstanding > cap.limit + excess:
                yield (
                    Invariant.TOKENS_CONSERVED,
                    f"{name}: {cap.spent} {cap.resource} are spent and {cap.outstanding} set aside of {cap.limit}",
                )
            used = self.used.get(cap.resource)
            # Growths that were damaged are in no tree any more, and had their share.
            fewer = self.run.damaged and used is not None and used < cap.spent
            if used is not None and (used > cap.limit or (ended and used != cap.spent and not fewer)):
                yield (
                    Invariant.TOKENS_CONSERVED,
                    f"{name}: its trees have {used} {cap.resource}, its account {cap.spent} of {cap.limit}",
                )


def _begins(node: pb.Node) -> bool:
    """Whether a branch begins with this node: another's first child goes on with it."""
    return node.number > 0 and (node.parent == 0 or node.sibling_index > 0)


def _expanded(node: pb.Node) -> bool:
    """Whether it is the first node of a branch that is none of the initial ones."""
    return _begins(node) and node.branch_reason != BranchReason.INITIAL
