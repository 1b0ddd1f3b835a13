"""One tree grown by our own policies on plain requests, one per segment: what tree code without treeroll does."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from treeroll.bench.meter import Meter
from treeroll.bench.raw_engine import Completion
from treeroll.policies.policies import Policies
from treeroll.policy.base import Ended, Expansion, Growth, Segment
from treeroll.tokenizer import Tokenizer
from treeroll.tree.node import BranchReason, Decision, Node, NodeStatus, Origin, StopReason
from treeroll.tree.rng import hash64
from treeroll.tree.tree import Tree


@dataclass(frozen=True, slots=True)
class Piece:
    """A segment to sample: its parent, its place below it, and where it ends."""

    tree: "RawTree"
    parent: int
    sibling_index: int
    reason: BranchReason
    decision: Decision
    group: int
    prefix: list[int]
    tokens: int


@dataclass(slots=True)
class RawTree:
    """Shape, tokens and growth of one tree."""

    tree_id: str
    prompt: Sequence[int]
    policies: Policies
    boundaries: Sequence[int]
    meter: Meter
    tokenizer: Tokenizer | None
    """None: nothing reads the text."""
    tree: Tree = field(init=False)
    running: int = 0
    """Pieces handed out and not yet added."""
    _growth: Growth = field(init=False)
    _paths: dict[int, list[int]] = field(default_factory=dict)
    _texts: dict[int, str] = field(default_factory=lambda: {0: ""})

    def start(self) -> list[Piece]:
        """First pieces."""
        self.tree = Tree.planted(self.tree_id, hash64("bench", self.tree_id), len(self.prompt))
        self._growth = self.policies.branch.grow(self.tree)
        self._paths[0] = list(self.prompt)
        return self._pieces(self._growth.start(self.tree))

    def add(self, piece: Piece, done: Completion) -> list[Piece]:
        """Take a sampled segment; returns what to sample next because of it."""
        self.running -= 1
        node = self._node(piece, done)
        self._count(piece, node, done)
        self.tree.add(node)
        pieces = []
        if node.status is NodeStatus.INNER:
            self._paths[node.number] = [*piece.prefix, *done.token_ids]
            pieces.append(self._piece(node, 0, piece.reason, piece.decision, piece.group))
        pieces += self._pieces(self._growth.on_node(self.tree, node))
        return pieces if pieces or self.running else self.idle()

    def idle(self) -> list[Piece]:
        """Nothing runs: what the policy wants more, or nothing at the tree's end."""
        return self._pieces(self._growth.on_idle(self.tree))

    def _node(self, piece: Piece, done: Completion) -> Node:
        parent = self.tree.nodes[piece.parent]
        count, logprob_sum = len(done.token_ids), float(sum(done.logprobs))
        status, reason = self._verdict(parent, done)
        return Node(
            number=len(self.tree.nodes),
            parent=parent.number,
            sibling_index=piece.sibling_index,
            depth=parent.depth + 1,
            token_start=parent.total,
            n_tokens=count,
            logprob_sum=logprob_sum,
            logprob_min=min(done.logprobs),
            path_logprob_sum=parent.path_logprob_sum + logprob_sum,
            status=status,
            stop_reason=reason,
            fanout=1 if status is NodeStatus.INNER else 0,
            origin=Origin(branch_reason=piece.reason, decision=piece.decision, group=piece.group),
        )

    def _verdict(self, parent: Node, done: Completion) -> tuple[NodeStatus, StopReason]:
        text, tail = "", self._texts[parent.number]
        if self.tokenizer is not None:
            text = self.tokenizer.decode_completion(list(done.token_ids))
        self._texts[len(self.tree.nodes)] = tail + text
        last = parent.depth + 1 == len(self.boundaries)
        ended = Ended.EOS if done.stopped else Ended.LIMIT if last else Ended.NO
        completed = parent.total + len(done.token_ids) - len(self.prompt)
        verdict = self.policies.prune.judge(Segment(text, tail, ended, completed, parent.depth + 1))
        return (verdict.status, verdict.reason) if verdict else (NodeStatus.INNER, StopReason.NONE)

    def _count(self, piece: Piece, node: Node, done: Completion) -> None:
        meter = self.meter
        meter.request(self.tree_id, len(piece.prefix), done.cached_tokens, at_prompt=piece.parent == 0)
        meter.generated += node.n_tokens
        if node.status is NodeStatus.LEAF:
            meter.sampled(node.total - len(self.prompt))

    def _pieces(self, expansions: Sequence[Expansion]) -> list[Piece]:
        pieces = []
        for expansion in expansions:
            node = self.tree.nodes[expansion.node]
            for _ in range(expansion.forks):
                pieces.append(self._piece(node, node.fanout, expansion.reason, expansion.decision, expansion.group))
                node.fanout += 1
        return pieces

    def _piece(self, node: Node, sibling_index: int, reason: BranchReason, decision: Decision, group: int) -> Piece:
        self.running += 1
        tokens = self.boundaries[node.depth] - node.total
        return Piece(self, node.number, sibling_index, reason, decision, group, self._paths[node.number], tokens)
