"""Trees of segments: their shape and figures. Token ids and texts are in the store, and with their replicas.

A coordinator holds millions of nodes, so a node holds what decisions read and nothing else.
"""

from array import array
from dataclasses import dataclass, field
from enum import StrEnum

# Characters of path text before a segment that a finish test sees, so that an answer may straddle a boundary.
TAIL_CHARS = 256
# In the path of a node that begins inside its parent: CUT - (tokens of the parent before it), then its sibling index.
# Above every sibling index, so that what follows the whole parent sorts first, then what begins at later cuts.
CUT = 1 << 32


class Kind(StrEnum):
    """A StrEnum that hashes like the string it is; the hash of other enums is a Python function, and slow."""

    __hash__ = str.__hash__


class NodeStatus(Kind):
    """What became of a node."""

    INNER = "inner"  # ended at a boundary
    LEAF = "leaf"  # a sample ends here
    PRUNED = "pruned"  # the path ends here and is no sample


# In Python 3.11 an enum's member costs ten times as much as a global, and these are looked up for every segment.
LEAF, PRUNED = NodeStatus.LEAF, NodeStatus.PRUNED


class StopReason(Kind):
    """Why a path ended at a leaf or pruned node."""

    NONE = ""
    ANSWER = "answer"
    EOS = "eos"
    LENGTH = "length"
    DEPTH = "depth"
    REPETITION = "repetition"
    LOW_CONFIDENCE = "low_confidence"
    TAIL_DECLINE = "tail_decline"
    ENTROPY_SPIKE = "entropy_spike"
    MIN_LENGTH = "min_length"
    LOST = "lost"
    BUDGET = "budget"
    CANCELLED = "cancelled"
    HELD = "held"


class BranchReason(Kind):
    """Why a branch was started."""

    PROMPT = "prompt"
    INITIAL = "initial"
    FORK = "fork"
    FALLBACK = "fallback"


class Decision(Kind):
    """What a decision to branch had read."""

    BOUNDARY = "boundary"  # only what was known at that boundary
    RETROSPECTIVE = "retrospective"  # finished continuations too: path_weight is 0 below


@dataclass(slots=True)
class Tokens:
    """Sampled tokens, for policies that read them: ids, log probabilities (nats) and entropies, one each per token.

    `ids` is int32, the others are float32; `entropies` (nats, a top-k estimate) is empty unless the run asks the engine
    for `top_logprobs`.
    """

    ids: "array[int]"
    logprobs: "array[float]"
    entropies: "array[float]"


@dataclass(frozen=True, slots=True)
class Observation:
    """Tokens that nobody sampled, and their text: a tool's answer behind a segment, or what a policy put before one.

    `ids` are int32 little-endian.
    """

    ids: bytes
    text: str

    @property
    def n_tokens(self) -> int:
        """How many."""
        return len(self.ids) // 4


@dataclass(slots=True)
class Node:
    """One segment of `n_tokens` tokens that begins at position `token_start` of the sequence.

    The first of them may be `inserted` by the policy, the last of them an `observation`. `tokens` count both in, with
    log probabilities and entropies of 0.

    logprob_sum and logprob_min are over this segment's sampled tokens (nats); path_logprob_sum covers the whole
    completion up to and including this node. `grant` made it, on `replica_id`. `group` is the label that the branch
    policy gave its branch, for credit to compare leaves by; labels start at 1, and 0 is none. `temperature` is what its
    branch sampled at, `max_tokens` the most completion tokens that it may have come to, each None if it is the run's.
    `model` served its branch, None if it is the tree's.
    """

    number: int
    parent: int
    sibling_index: int
    depth: int
    token_start: int
    n_tokens: int
    logprob_sum: float = 0.0
    logprob_min: float = 0.0
    path_logprob_sum: float = 0.0
    status: NodeStatus = NodeStatus.INNER
    stop_reason: StopReason = StopReason.NONE
    branch_reason: BranchReason = BranchReason.PROMPT
    decision: Decision = Decision.BOUNDARY
    group: int = 0
    replica_id: str = ""
    grant: int = 0
    # Sibling indices handed out below this node, started or not.
    fanout: int = 0
    # Only in runs whose policies read tokens.
    tokens: Tokens | None = None
    observation: Observation | None = None
    temperature: float | None = None
    # Only in runs whose branch policy reads text; an observation's is the end of it.
    text: str | None = None
    inserted: Observation | None = None
    max_tokens: int | None = None
    model: str | None = None

    @property
    def total(self) -> int:
        """Length of the sequence at the end of this node, prompt included."""
        return self.token_start + self.n_tokens

    @property
    def sampled(self) -> int:
        """How many tokens the model made."""
        return self.n_tokens if self.observation is None and self.inserted is None else len(self.own)

    @property
    def own(self) -> range:
        """Positions in the node of the tokens that the model made."""
        first = self.inserted.n_tokens if self.inserted else 0
        return range(first, self.n_tokens - self.observation.n_tokens if self.observation else self.n_tokens)

    @property
    def weightless(self) -> bool:
        """Whether its branch was started otherwise than by a fresh sample of the run's policy: see `path_weights`."""
        own = (self.temperature, self.inserted, self.max_tokens, self.model)
        return self.decision is Decision.RETROSPECTIVE or own != (None, None, None, None)


@dataclass(slots=True)
class Tree:
    """Everything grown from one task: a node store with the walks that policies need. Policies only read it."""

    tree_id: str
    seed: int
    nodes: list[Node] = field(default_factory=list)
    # Numbers of nodes with status LEAF / PRUNED, in order of arrival. Sort by path before deciding anything.
    leaves: list[int] = field(default_factory=list)
    pruned: list[int] = field(default_factory=list)
    # Leaf -> reward, None if its scorer failed; the leaves that have been scored so far.
    rewards: dict[int, float | None] = field(default_factory=dict)
    # Held node -> what the run's judge says of the path to it, None if it failed. Only in runs with a judge.
    values: dict[int, float | None] = field(default_factory=dict)
    # (node, its tokens kept) -> sibling indices handed out where it was cut; 0 is the node's own continuation.
    cuts: dict[tuple[int, int], int] = field(default_factory=dict)

    @classmethod
    def planted(cls, tree_id: str, seed: int, prompt_tokens: int) -> "Tree":
        """A tree that is only its prompt."""
        return cls(tree_id, seed, [Node(0, 0, 0, 0, 0, prompt_tokens)])

    @property
    def root(self) -> Node:
        """The prompt."""
        return self.nodes[0]

    def add(self, node: Node) -> None:
        """Append a node whose parent is here already (TreeWellFormed)."""
        self.nodes.append(node)
        if node.status is LEAF:
            self.leaves.append(node.number)
        elif node.status is PRUNED:
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
        """Sibling indices from the root down, and cuts: the node's name, independent of time and place."""
        nodes, indices = self.nodes, []
        while number != 0:
            node = nodes[number]
            indices.append(node.sibling_index)
            number = node.parent
            if self.cuts and node.token_start < nodes[number].total:
                indices.append(CUT - (node.token_start - nodes[number].token_start))
        return tuple(reversed(indices))

    def tokens_before(self, number: int, total: int, count: int) -> Tokens:
        """The last `count` sampled tokens of the path to `number`, cut after `total` tokens; fewer if there are fewer.

        Only in runs whose policies read tokens.
        """
        parts: list[Tokens] = []
        while number != 0 and count > 0:
            node = self.nodes[number]
            if node.tokens is not None:
                own = node.own
                end = min(total - node.token_start, own.stop)
                part = slice(max(own.start, end - count), end)
                parts.append(Tokens(node.tokens.ids[part], node.tokens.logprobs[part], node.tokens.entropies[part]))
                count -= max(0, end - part.start)
            total, number = node.token_start, node.parent
        before = Tokens(array("i"), array("f"), array("f"))
        for tokens in reversed(parts):
            before.ids += tokens.ids
            before.logprobs += tokens.logprobs
            before.entropies += tokens.entropies
        return before

    def completion_text(self, number: int) -> str:
        """Text of the path down to the end of the node, which no cut leads to. Only in runs whose policy reads text."""
        return "".join(node.text or "" for node in self.lineage(number))

    def completion_tokens(self, number: int) -> int:
        """Tokens generated on the path down to the node."""
        return self.nodes[number].total - self.root.n_tokens

    def in_path_order(self, numbers: list[int]) -> list[int]:
        """The numbers sorted by path, the one order that does not depend on arrival."""
        return sorted(numbers, key=self.path)


def path_name(path: tuple[int, ...]) -> str:
    """A path as people and records write it: "0.1.0"; empty for the root."""
    return ".".join(map(str, path))
