"""What is stored of trees that have not left, as a coordinator that starts finds it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from treeroll.core.model.events import SegmentReported
from treeroll.core.model.journal import Entry, Planted, Reported
from treeroll.core.model.live_tree import LiveTree
from treeroll.core.model.run import Run, TaskSpec
from treeroll.tree.node import NodeStatus, StopReason


class Damaged(Exception):
    """What is stored of a tree cannot be grown again: a sentence says where they part."""


@dataclass(slots=True)
class NodeRemains:
    """A node, and the report that it was made of, but for what replay knows better: its grant and texts.

    `text` is the whole node's, of which the last `observation_chars` are an observation. Of one that begins inside its
    parent, `parent_chars` of the parent's text come before it. The first number of tokens is that of the whole node.
    """

    parent: int
    sibling_index: int
    token_start: int
    n_tokens: int
    depth: int
    status: NodeStatus
    stop_reason: StopReason
    attempt: int
    report: SegmentReported
    text: str = ""
    observation_chars: int = 0
    parent_chars: int | None = None


@dataclass(slots=True)
class TreeRemains:
    """A tree: its nodes but for the root, and its journal, in the order in which they came. It begins with `Planted`.

    `rewards` are those of its leaves: None for a scorer that failed.
    """

    task: TaskSpec
    planted: Planted
    history: Sequence[NodeRemains | Entry]
    rewards: Mapping[int, float | None] = field(default_factory=dict)
    carried: int = 0  # tokens that earlier growths of it spent

    @property
    def spent(self) -> int:
        """Tokens that it took."""
        total = self.carried
        for what in self.history:
            if isinstance(what, NodeRemains):
                total += what.report.n_tokens + what.report.dropped_tokens
            elif isinstance(what, Reported):
                total += what.tokens
        return total


@dataclass(slots=True)
class RunRemains:
    """A run as its record tells it, with its tasks: those that wait, and the trees that grew.

    `broken` are tasks whose trees cannot be read, each with the reason. Where trees leave in order, `held` are those
    that have ended and are not in the feed, and `left` the numbers of the tasks of those that are.
    """

    run: Run
    waiting: Sequence[TaskSpec] = ()
    growing: Sequence[TreeRemains] = ()
    broken: Sequence[tuple[TaskSpec, str]] = ()
    held: Sequence[LiveTree] = ()
    left: Sequence[int] = ()
