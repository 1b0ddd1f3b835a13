"""The policy protocols, and the few records they exchange with the core.

A policy is an object made from its `Params` (a frozen pydantic model with bounds, `extra="forbid"`). It is pure: what
it returns depends on its parameters, the tree and the tree's seed only. A tree's memory lives in its `Growth`.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Protocol, runtime_checkable

from msgspec import Struct
from pydantic import BaseModel, ConfigDict, ValidationInfo, field_validator

from treeroll.checks import no_truth_for_numbers
from treeroll.errors import InvalidInput
from treeroll.policy.needs import Needs
from treeroll.tools.base import Tool
from treeroll.tree.node import BranchReason, Decision, Kind, Node, NodeStatus, StopReason, Tokens
from treeroll.tree.tree import Tree
from treeroll.why import Why

# Sampling far from the run's distribution is noise: ten times its temperature is all that an expansion may ask for.
MAX_TEMPERATURE_SCALE: Final = 10.0


class Params(BaseModel):
    """Base of all parameter models: frozen, unknown keys refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    @field_validator("*", mode="before")
    @classmethod
    def _truth_is_no_number(cls, value: Any, field: ValidationInfo) -> Any:
        return no_truth_for_numbers(cls.model_fields[str(field.field_name)].annotation, value)


@dataclass(frozen=True, slots=True)
class Limits:
    """The shape every policy of a run shares; set once, at the top level of the run's configuration."""

    leaves: int  # complete leaves wanted per tree (TreePO's width w), >= 1
    segment_tokens: int  # wanted tokens per segment (TreePO's l), >= 1
    max_depth: int  # most segments on a path (TreePO's d), >= 1
    max_tokens: int  # most completion tokens on a path, >= 1


@dataclass(slots=True)
class Expansion:
    """A decision about one node.

    `forks` new branches start at the node, beside the branch that made it; after its first `split_at` tokens, if that
    is set (at least 1 and fewer than it has), and then the node may be a leaf too. `resume` lets that branch go on if
    it is held there (hold mode), under the same decision; it means nothing for a branch that runs on by itself. `group`
    labels the new branches, 1 or more, where credit is to compare their leaves with others of the same label; 0 is no
    label, and forks inherit none.

    The new branches sample at `temperature_scale` times the run's temperature (above 0, MAX_TEMPERATURE_SCALE at most)
    for as long as they run, whatever they pass and however often they are started again. `max_tokens` is the most
    completion tokens that their paths may have, all counted from the prompt on, where it is below the run's. `insert`
    is text that comes before their first sampled token, and is masked in training like a tool's observation: put it
    only into runs that were told of it, see `Needs.inserts`. Segments that end within it are left out. Where what is
    inserted and where it begins leave no room for a token, no branch is started, and the tree counts it as censored.
    `model` is the one of the service's models that serves the new branches, which has to compute their prefix anew, ""
    the tree's: put others only into runs that were told of them, see `Needs.models`. Forks inherit none of these. With
    any of them branches are no sample of the run's policy, so their leaves have path weight 0, and they count as no
    children.

    `why` is for people: the rule that fired, with its terms, of forks and of held paths that are let end (no forks and
    no `resume`). It changes nothing.
    """

    node: int
    forks: int
    reason: BranchReason = BranchReason.FORK
    decision: Decision = Decision.BOUNDARY
    group: int = 0
    resume: bool = True
    split_at: int | None = None
    temperature_scale: float = 1.0
    max_tokens: int | None = None
    insert: str = ""
    model: str = ""
    why: Why | None = field(default=None, compare=False)


class Growth(Protocol):
    """The memory of a branch policy about one tree. A growth that derives from it decides nothing unless it says so."""

    def start(self, tree: Tree) -> list[Expansion]:
        """First branches, all at the root."""
        ...

    def on_node(self, tree: Tree, node: Node) -> list[Expansion]:
        """A node was added: inner (its branch runs on, or is held), leaf or pruned. Expansions may name other nodes.

        Only a policy that needs hold has to name the nodes whose branches go on.
        """
        return []

    def on_idle(self, tree: Tree) -> list[Expansion]:
        """Nothing runs, waits or is held back by others. Returning nothing ends the tree."""
        return []


@runtime_checkable
class HasTimeout(Growth, Protocol):
    """A growth whose held paths wait for others, but for so long only."""

    @property
    def timeout_s(self) -> float | None:
        """Seconds from the first path that was held undecided to `on_timeout`; None: as long as it takes.

        Any decision ends the wait. With a timeout decisions depend on the order of arrival: they are retrospective.
        """
        ...

    def on_timeout(self, tree: Tree) -> list[Expansion]:
        """The time is over, and others still run."""
        ...


class BranchPolicy(Protocol):
    """Decides forks and fallbacks."""

    @property
    def name(self) -> str:
        """What configurations call it."""
        ...

    @property
    def needs(self) -> Needs:
        """What it reads, and what runs must have for it."""
        ...

    def grow(self, tree: Tree) -> Growth:
        """A fresh memory for a new tree."""
        ...

    @property
    def max_leaves(self) -> int:
        """Upper bound on the leaves of one tree."""
        ...


@dataclass(frozen=True, slots=True)
class Delimiter:
    """What ends a segment where lengths do not. It is the end of its segment, and lies wholly in it.

    `texts`: any of them, completed by a token, with other than white space before it in the segment, so that no segment
    is blank. `token_ids`: any of these tokens, whatever is before it. At least one of the two is not empty.
    """

    texts: tuple[str, ...] = ()
    token_ids: tuple[int, ...] = ()


class SegmentPolicy(Protocol):
    """Decides where boundaries fall."""

    hold: bool  # True: a branch ends at each boundary and waits for a decision
    delimiter: Delimiter | None  # None: boundaries are lengths
    tool: Tool | None  # answers the calls that segments end with in hold mode: paths go on behind its answers

    @property
    def name(self) -> str:
        """What configurations call it."""
        ...

    @property
    def needs(self) -> Needs:
        """The remarks of a policy with a tool, in `inserts`."""
        ...

    def boundaries(self, prompt_tokens: int, block_size: int, max_model_len: int) -> list[int]:
        """Total lengths (prompt included) where segments end, for depth 1, 2, ...; strictly ascending.

        The last one is the longest total any path may reach. There are no more than with a block size of 1 and room
        for max_tokens. A pure function of its arguments, so every branch of a tree, whenever it starts, has the same
        boundaries. With a delimiter they are that longest total, once for each segment a path may have: a delimiter
        ends any of them but the last.
        """
        ...

    def remark(self, calls: int) -> str:
        """What the tool's answer to a path's `calls`-th call is followed by, mostly nothing.

        Only policies with a tool are asked. One that ever says something has that in its `needs.inserts`.
        """
        ...


class Ended(Kind):
    """How the engine ended the branch at this node, if it did."""

    NO = "no"
    EOS = "eos"
    LIMIT = "limit"  # reached the last boundary


class Segment(Struct):
    """What a finish test may look at. It must not change it; not frozen, because one is made for every segment.

    `tail` is up to TAIL_CHARS characters of path text before this segment; `text` the segment's own.
    `completion_tokens` and `depth` include this segment. `max_tokens` is the most that its path may have, None if that
    is the run's. `tokens` are the segment's, and `recent(n)` gives the last n sampled tokens of the path before it
    (fewer if there are fewer), both only for a policy that reads tokens.
    """

    text: str
    tail: str
    ended: Ended
    completion_tokens: int
    depth: int
    tokens: Tokens | None = None
    recent: Callable[[int], Tokens] | None = None
    max_tokens: int | None = None


@dataclass(frozen=True, slots=True)
class Verdict:
    """The path ends at this segment."""

    status: NodeStatus  # LEAF or PRUNED
    reason: StopReason
    why: Why | None = field(default=None, compare=False)  # the test that held, with its terms; for people


class PrunePolicy(Protocol):
    """Decides whether a path ends at a segment. Must return a verdict when `ended` is not NO."""

    @property
    def name(self) -> str:
        """What configurations call it."""
        ...

    @property
    def needs(self) -> Needs:
        """`tokens` and `entropy`, if it reads them."""
        ...

    def judge(self, segment: Segment) -> Verdict | None:
        """None: the path goes on."""
        ...


@dataclass(frozen=True, slots=True)
class CreditTree:
    """A finished tree as credit assignment sees it. Index = node number; the root is 0 and its own parent.

    `paths[i]` are the node numbers from depth 1 to leaf i's node; `rewards` maps scored leaves to finite values; leaves
    that nobody scored, or whose scorer failed, are in `paths` but not in `rewards`. `inner_rewards` are the rewards of
    nodes that are no leaf, where somebody reported them. `logprob_sums` are over each node's sampled tokens (nats).
    `groups` maps the leaves that growth labelled to their labels, 1 or more. Raises InvalidInput for a reward that is
    not finite: one nan would be in the credit of every leaf.
    """

    paths: dict[int, tuple[int, ...]]
    rewards: dict[int, float]
    n_tokens: dict[int, int]
    logprob_sums: Mapping[int, float] = field(default_factory=dict)
    inner_rewards: Mapping[int, float] = field(default_factory=dict)
    groups: Mapping[int, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for rewards in (self.rewards, self.inner_rewards):
            for node, reward in rewards.items():
                if not math.isfinite(reward):
                    raise InvalidInput(f"the reward of node {node} is {reward}; credit needs finite rewards")


class AdvantageEstimator(Protocol):
    """Turns leaf rewards into credit."""

    def estimate(self, tree: CreditTree) -> dict[int, tuple[float, ...]]:
        """For each scored leaf, one advantage per path node (depth 1 first), before any batch whitening."""
        ...


class PlacementPolicy(Protocol):
    """Chooses the queue a branch waits in."""

    # By how many branches, as a share of its own slots, another replica must lead before one with a free slot takes
    # from its queue; None: never.
    steal_margin: float | None

    def home(self, parent_replica: str, replicas: list[str], placements: int) -> str | None:
        """Replica whose queue the branch joins, or None for whichever is free first.

        `parent_replica` generated the branch's prefix ("" for a new tree, or if that replica is gone), `replicas` are
        the ready ones sorted by name, `placements` counts the placements in the pool so far.
        """
        ...
