"""One segment of a tree: its figures, and what it has in common with others.

A coordinator holds millions of nodes, so a node holds what decisions read and nothing else.
"""

from array import array
from dataclasses import dataclass, field
from enum import StrEnum
from functools import lru_cache

from msgspec import Struct


class Kind(StrEnum):
    """A StrEnum that hashes like the string it is; the hash of other enums is a Python function, and slow."""

    __hash__ = str.__hash__


class NodeStatus(Kind):
    """What became of a node."""

    INNER = "inner"  # ended at a boundary
    LEAF = "leaf"  # a sample ends here
    PRUNED = "pruned"  # the path ends here and is no sample


# In Python 3.11 an enum's member costs ten times as much as a global, and these are looked up for every segment.
INNER, LEAF, PRUNED = NodeStatus.INNER, NodeStatus.LEAF, NodeStatus.PRUNED


class StopReason(Kind):
    """Why a path ended at a leaf or pruned node."""

    NONE = ""
    ANSWER = "answer"
    EOS = "eos"
    STOP = "stop"
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


@dataclass(frozen=True, slots=True, eq=False)
class Origin:
    """What the nodes of one grant have in common, and mostly those of many grants: held once, not with every node.

    The attempt `attempt` at their branch, on this incarnation of the replica. `group` is the label that the branch
    policy gave the branch, for credit to compare leaves by; labels start at 1, and 0 is none. `temperature` is what the
    branch samples at, `max_tokens` the most completion tokens that it may come to, each None if it is the run's.
    `model` serves it, None if it is the tree's. `weightless`: the branch was started otherwise than by a fresh sample
    of the run's policy, see `path_weights`.
    """

    replica_id: str = ""
    incarnation: int = 0
    attempt: int = 0
    branch_reason: BranchReason = BranchReason.PROMPT
    decision: Decision = Decision.BOUNDARY
    group: int = 0
    temperature: float | None = None
    max_tokens: int | None = None
    model: str | None = None
    weightless: bool = field(init=False)

    def __post_init__(self) -> None:
        own = (self.temperature, self.max_tokens, self.model)
        object.__setattr__(self, "weightless", self.decision is Decision.RETROSPECTIVE or own != (None, None, None))


# Equal arguments, by position, give the same object unless thousands of others came between: nodes share it, and what
# is worked out of it can be kept by its identity.
shared_origin = lru_cache(maxsize=4096)(Origin)
OF_PROMPT = shared_origin()


@dataclass(frozen=True, slots=True)
class Content:
    """What a node has besides its figures, where something reads it or where not all of its tokens were sampled.

    `tokens` in runs whose policies read them; `text` in those whose branch policy does, with that of the observation at
    its end.
    """

    tokens: Tokens | None = None
    text: str | None = None
    inserted: Observation | None = None
    observation: Observation | None = None


NOTHING = Content()


class Node(Struct, gc=False):
    """One segment of `n_tokens` tokens that begins at position `token_start` of the sequence.

    The first of them may be `inserted` by the policy, the last of them an `observation`. `tokens` count both in, with
    log probabilities and entropies of 0.

    logprob_sum and logprob_min are over this segment's sampled tokens (nats); path_logprob_sum covers the whole
    completion up to and including this node. `grant` made it.

    A Struct without garbage collection, which would visit every new one: it must never be part of a cycle.
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
    # Sibling indices handed out below this node, started or not.
    fanout: int = 0
    grant: int = 0
    origin: Origin = OF_PROMPT
    content: Content = NOTHING

    @property
    def total(self) -> int:
        """Length of the sequence at the end of this node, prompt included."""
        return self.token_start + self.n_tokens

    @property
    def sampled(self) -> int:
        """How many tokens the model made."""
        return self.n_tokens if self.content is NOTHING else len(self.own)

    @property
    def own(self) -> range:
        """Positions in the node of the tokens that the model made."""
        before, behind = self.content.inserted, self.content.observation
        return range(before.n_tokens if before else 0, self.n_tokens - behind.n_tokens if behind else self.n_tokens)

    @property
    def weightless(self) -> bool:
        """See Origin; so is one that begins with an inserted text."""
        return self.content.inserted is not None or self.origin.weightless

    @property
    def tokens(self) -> Tokens | None:
        """See Content."""
        return self.content.tokens

    @property
    def text(self) -> str | None:
        """See Content."""
        return self.content.text

    @property
    def inserted(self) -> Observation | None:
        """What the policy put before its first sampled token."""
        return self.content.inserted

    @property
    def observation(self) -> Observation | None:
        """A tool's answer behind its last sampled token."""
        return self.content.observation

    @property
    def replica_id(self) -> str:
        """Where it was made."""
        return self.origin.replica_id

    @property
    def branch_reason(self) -> BranchReason:
        """Why its branch was started."""
        return self.origin.branch_reason

    @property
    def decision(self) -> Decision:
        """What the decision to start its branch had read."""
        return self.origin.decision

    @property
    def group(self) -> int:
        """See Origin."""
        return self.origin.group

    @property
    def temperature(self) -> float | None:
        """See Origin."""
        return self.origin.temperature

    @property
    def max_tokens(self) -> int | None:
        """See Origin."""
        return self.origin.max_tokens

    @property
    def model(self) -> str | None:
        """See Origin."""
        return self.origin.model
