"""Trees of segments. A node holds only its own tokens; the root (number 0) holds the prompt."""

from dataclasses import dataclass, field
from enum import StrEnum

# Characters of path text before a segment that a finish test sees, so that an answer may straddle a boundary.
TAIL_CHARS = 256


class NodeStatus(StrEnum):
    """What became of a node."""

    INNER = "inner"  # ended at a boundary
    LEAF = "leaf"  # a sample ends here
    PRUNED = "pruned"  # the path ends here and is no sample


class StopReason(StrEnum):
    """Why a path ended at a leaf or pruned node."""

    NONE = ""
    ANSWER = "answer"
    EOS = "eos"
    LENGTH = "length"
    DEPTH = "depth"
    REPETITION = "repetition"
    MIN_LENGTH = "min_length"
    LOST = "lost"
    BUDGET = "budget"
    CANCELLED = "cancelled"
    HELD = "held"


class BranchReason(StrEnum):
    """Why a branch was started."""

    PROMPT = "prompt"
    INITIAL = "initial"
    FORK = "fork"
    FALLBACK = "fallback"


class Decision(StrEnum):
    """What a decision to branch had read."""

    BOUNDARY = "boundary"  # only what was known at that boundary
    RETROSPECTIVE = "retrospective"  # finished continuations too: path_weight is 0 below


@dataclass(slots=True)
class Node:
    """One segment.

    token_ids is int32 little-endian; logprob_sum and logprob_min are over this segment's sampled tokens (nats);
    path_logprob_sum covers the whole completion up to and including this node.
    """

    number: int
    parent: int
    sibling_index: int
    depth: int
    token_start: int
    n_tokens: int
    token_ids: bytes
    text: str = ""
    logprob_sum: float = 0.0
    logprob_min: float = 0.0
    path_logprob_sum: float = 0.0
    status: NodeStatus = NodeStatus.INNER
    stop_reason: StopReason = StopReason.NONE
    branch_reason: BranchReason = BranchReason.PROMPT
    decision: Decision = Decision.BOUNDARY
    replica_id: str = ""
    children: list[int] = field(default_factory=list)
    # Sibling indices handed out below this node, started or not.
    fanout: int = 0

    @property
    def total(self) -> int:
        """Length of the sequence at the end of this node, prompt included."""
        return self.token_start + self.n_tokens


@dataclass(slots=True)
class Tree:
    """Everything grown from one task: a node store with the walks that policies need. Policies only read it."""

    tree_id: str
    seed: int
    nodes: list[Node] = field(default_factory=list)
    # Numbers of nodes with status LEAF / PRUNED, in order of arrival. Sort by path before deciding anything.
    leaves: list[int] = field(default_factory=list)
    pruned: list[int] = field(default_factory=list)

    @classmethod
    def planted(cls, tree_id: str, seed: int, prompt_ids: bytes) -> "Tree":
        """A tree that is only its prompt (int32 little-endian)."""
        root = Node(0, 0, 0, 0, 0, len(prompt_ids) // 4, prompt_ids)
        return cls(tree_id, seed, [root])

    @property
    def root(self) -> Node:
        """The prompt."""
        return self.nodes[0]

    def add(self, node: Node) -> None:
        """Append a node whose parent is here already (TreeWellFormed)."""
        self.nodes.append(node)
        self.nodes[node.parent].children.append(node.number)
        if node.status is NodeStatus.LEAF:
            self.leaves.append(node.number)
        elif node.status is NodeStatus.PRUNED:
            self.pruned.append(node.number)

    def lineage(self, number: int) -> list[Node]:
        """Nodes from depth 1 down to `number`; empty for the root."""
        nodes = []
        while number != 0:
            node = self.nodes[number]
            nodes.append(node)
            number = node.parent
        return nodes[::-1]

    def path(self, number: int) -> tuple[int, ...]:
        """Sibling indices from the root down: the node's name, independent of time and place."""
        return tuple(node.sibling_index for node in self.lineage(number))

    def prefix_ids(self, number: int) -> bytes:
        """Tokens from the start of the prompt to the end of the node, int32 little-endian."""
        return self.root.token_ids + b"".join(node.token_ids for node in self.lineage(number))

    def completion_tokens(self, number: int) -> int:
        """Tokens generated on the path down to the node."""
        return self.nodes[number].total - self.root.n_tokens

    def tail(self, number: int) -> str:
        """Last TAIL_CHARS characters of completion text up to and including the node."""
        text = ""
        while number != 0 and len(text) < TAIL_CHARS:
            text = self.nodes[number].text + text
            number = self.nodes[number].parent
        return text[-TAIL_CHARS:]

    def completion_text(self, number: int) -> str:
        """Text of the completion up to and including the node."""
        return "".join(node.text for node in self.lineage(number))

    def in_path_order(self, numbers: list[int]) -> list[int]:
        """The numbers sorted by path, the one order that does not depend on arrival."""
        return sorted(numbers, key=self.path)


def path_name(path: tuple[int, ...]) -> str:
    """A path as people and records write it: "0.1.0"; empty for the root."""
    return ".".join(map(str, path))
