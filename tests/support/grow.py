"""Grows one tree the way the core does, on a scripted world, in any order of arrival.

A world says what a path's next segment is, given its name, as a model that is deterministic per path would. The driver
runs branches, adds nodes, asks the policy and starts what it is told, and checks the contract on the way. `pick`
chooses which running branch reports next, so a test can let any branch run ahead of any other.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from treeroll.policy.base import BranchPolicy, Expansion, Growth
from treeroll.tree import rng
from treeroll.tree.node import BranchReason, Content, Decision, Node, NodeStatus, Origin, StopReason
from treeroll.tree.tree import Tree, path_name

PROMPT_TOKENS = 5
Path = tuple[int, ...]
Pick = Callable[[int], int]


@dataclass(frozen=True, slots=True)
class Outcome:
    """One segment: what became of it, and its log probabilities."""

    status: NodeStatus = NodeStatus.INNER
    reason: StopReason = StopReason.NONE
    n_tokens: int = 10
    logprob_sum: float = -1.0
    logprob_min: float = -0.5
    text: str | None = None


INNER = Outcome()
World = Callable[[Path], Outcome]


def leaf(reason: StopReason = StopReason.EOS, **values: Any) -> Outcome:
    """A path's end that is a sample."""
    return Outcome(NodeStatus.LEAF, reason, **values)


def discarded() -> Outcome:
    """A path's end that is no sample."""
    return Outcome(NodeStatus.PRUNED, StopReason.MIN_LENGTH)


def endless(depth: int) -> World:
    """All paths reach the last boundary."""
    return lambda path: leaf(StopReason.DEPTH) if len(path) == depth else INNER


def ragged(seed: int, depth: int, end: float, discard: float) -> World:
    """Paths end early, or are discarded, with given probabilities per segment, drawn by path."""

    def world(path: Path) -> Outcome:
        name = path_name(path)
        logprob = -20 * rng.uniform(seed, "logprob", name)
        values: dict[str, Any] = {
            "n_tokens": 10,
            "logprob_sum": logprob,
            "logprob_min": logprob * rng.uniform(seed, "min", name),
        }
        values["text"] = f"\\boxed{{{rng.randint(0, 1, seed, 'answer', name)}}}"
        draw = rng.uniform(seed, "end", name)
        if draw < discard:
            return Outcome(NodeStatus.PRUNED, StopReason.MIN_LENGTH, **values)
        if draw < discard + end:
            reasons = (StopReason.ANSWER, StopReason.EOS, StopReason.REPETITION)
            return leaf(reasons[rng.randint(0, 2, seed, "reason", name)], **values)
        return leaf(StopReason.DEPTH, **values) if len(path) == depth else Outcome(**values)

    return world


@dataclass(slots=True)
class Branch:
    """A running or held branch: the node it stands at and the index of its next one."""

    tip: int
    sibling_index: int
    reason: BranchReason
    decision: Decision
    group: int


@dataclass(slots=True)
class Driver:
    """The core in miniature."""

    policy: BranchPolicy
    world: World
    pick: Pick = lambda n: 0
    hold: bool = False
    seed: int = 7
    reward: Callable[[Path], float | None] = lambda path: 0.0
    tree: Tree = field(init=False)
    growth: Growth = field(init=False)
    running: list[Branch] = field(default_factory=list)
    held: dict[int, Branch] = field(default_factory=dict)
    batches: list[list[Expansion]] = field(default_factory=list)
    idles: int = 0

    def run(self) -> "Driver":
        """Grow to the end."""
        self.tree = Tree.planted("tree", self.seed, PROMPT_TOKENS)
        self.growth = self.policy.grow(self.tree)
        self._carry_out(self.growth.start(self.tree))
        while True:
            while self.running:
                self._report(self.running.pop(self.pick(len(self.running))))
            self.idles += 1
            if self.policy.needs.rewards:
                for leaf in self.tree.leaves[len(self.tree.rewards) :]:
                    self.tree.rewards[leaf] = self.reward(self.tree.path(leaf))
            self._carry_out(self.growth.on_idle(self.tree))
            if not self.running:
                assert self.policy.needs.hold or not self.held, "paths are held that nobody resumed"
                return self

    def _report(self, branch: Branch) -> None:
        parent = self.tree.nodes[branch.tip]
        segment = self.world((*self.tree.path(parent.number), branch.sibling_index))
        inner = segment.status is NodeStatus.INNER
        node = Node(
            number=len(self.tree.nodes),
            parent=parent.number,
            sibling_index=branch.sibling_index,
            depth=parent.depth + 1,
            token_start=parent.total,
            n_tokens=segment.n_tokens,
            logprob_sum=segment.logprob_sum,
            logprob_min=segment.logprob_min,
            path_logprob_sum=parent.path_logprob_sum + segment.logprob_sum,
            status=segment.status,
            stop_reason=segment.reason,
            fanout=1 if inner else 0,
            origin=Origin(branch_reason=branch.reason, decision=branch.decision, group=branch.group),
            content=Content(text=segment.text),
        )
        self.tree.add(node)
        if inner:
            onward = Branch(node.number, 0, branch.reason, branch.decision, branch.group)
            if self.hold:
                self.held[node.number] = onward
            else:
                self.running.append(onward)
        self._carry_out(self.growth.on_node(self.tree, node))
        if node.number in self.held and not self.policy.needs.hold:
            self.running.append(self.held.pop(node.number))

    def _carry_out(self, expansions: list[Expansion]) -> None:
        self.batches.append(expansions)
        for expansion in expansions:
            node = self.tree.nodes[expansion.node]
            assert node.status is NodeStatus.INNER, "only the root and inner nodes can fork"
            assert expansion.forks >= 0
            if expansion.resume and expansion.node in self.held:
                branch = self.held.pop(expansion.node)
                if expansion.decision is Decision.RETROSPECTIVE:
                    branch.decision = expansion.decision
                self.running.append(branch)
            for _ in range(expansion.forks):
                branch = Branch(node.number, node.fanout, expansion.reason, expansion.decision, expansion.group)
                self.running.append(branch)
                node.fanout += 1

    def shape(self) -> dict[str, tuple[str, ...]]:
        """Everything that must not depend on arrival: each path with its end, its origin and its decision."""
        return {
            path_name(self.tree.path(node.number)): (
                node.status,
                node.stop_reason,
                node.branch_reason,
                node.decision,
                str(node.group),
                str(node.fanout),
            )
            for node in self.tree.nodes[1:]
        }

    def leaves(self) -> list[str]:
        """Names of the samples, in path order."""
        return [path_name(self.tree.path(number)) for number in self.tree.in_path_order(self.tree.leaves)]

    def width_at(self, depth: int) -> int:
        """Paths that reached a depth."""
        return sum(node.depth == depth for node in self.tree.nodes)


def round_robin() -> Pick:
    """Oldest first: the lock-step order of the published code."""
    return lambda n: 0


def newest_first() -> Pick:
    """The branch that reported last reports next: one path runs to its end before any other moves."""
    return lambda n: n - 1


def goes_on(expansions: Sequence[Expansion]) -> list[Expansion]:
    """Those that start or resume something; others say why a held path ends."""
    return [expansion for expansion in expansions if expansion.forks or expansion.resume]
