"""Branches whose coordinator died. Replicas may decode them still, and say so when they come back."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from treeroll.core.model.branch import Branch, BranchState
from treeroll.core.model.live_tree import LiveTree
from treeroll.core.model.run import Run


@dataclass(slots=True)
class Orphans:
    """Branches of trees that were grown again, until it is known what has become of each.

    `awaited` are the sessions that the last coordinator had, replica -> incarnation, and that have not come back.
    `before`: every grant of earlier coordinators is below it.
    """

    awaited: dict[str, int]
    before: int
    until: float | None = None  # when the leases of `awaited` end; None: their time has not begun
    missed: bool = False  # a session is gone for good, and whatever it had
    # Those that ran: each has a grant as a stand-in for the one that its replica knows, and tokens reserved.
    ran: set[int] = field(default_factory=set)
    # Those that waited or had just been granted, by tree and number: which, nobody has stored.
    unsure: dict[tuple[str, int], tuple[LiveTree, Branch]] = field(default_factory=dict)
    # Their runs, as far as these have caps: what is free of those is not known either. And what they want to start.
    held_runs: dict[str, Run] = field(default_factory=dict)
    held: list[tuple[LiveTree, Branch]] = field(default_factory=list)

    def has(self, live: LiveTree, branch: Branch) -> bool:
        """Whether it is one of them."""
        if branch.state is BranchState.PENDING:
            return (live.tree_id, branch.number) in self.unsure
        return branch.grant in self.ran

    def holds(self, run: Run) -> bool:
        """Whether the run must not start anything yet."""
        return run.spec.run_id in self.held_runs

    def take_unsure(self, live: LiveTree, branch: Branch) -> None:
        """It waits, or runs somewhere."""
        self.unsure[live.tree_id, branch.number] = live, branch
        if live.run.capped:
            self.held_runs[live.run.spec.run_id] = live.run

    @property
    def waiting(self) -> list[tuple[LiveTree, Branch]]:
        """Those of `unsure` that nobody has said to have."""
        return [(live, branch) for live, branch in self.unsure.values() if branch.state is BranchState.PENDING]


def of_sessions(sessions: Mapping[str, int], next_grant: int) -> Orphans:
    """Nothing yet, of a coordinator that had these sessions."""
    return Orphans(dict(sessions), next_grant)
