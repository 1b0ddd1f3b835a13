"""Rewards written back by clients: late, again, and for any node of a tree."""

import asyncio
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from treeroll.access.identity import Role, caller
from treeroll.coordinator import records
from treeroll.coordinator.audit import ENDED
from treeroll.coordinator.loop import Coordinator
from treeroll.coordinator.specs import check_reward
from treeroll.coordinator.turn import Turn
from treeroll.core.model.run import Run
from treeroll.errors import InvalidInput, NotAllowed, RewardConflict, UnknownNode, UnknownTree
from treeroll.pb.v1 import common_pb2 as pb
from treeroll.pb.v1 import rollout_pb2 as api
from treeroll.records.assemble import assemble
from treeroll.store.base import Commit, StoredTree

# For so long a thread that puts trees together keeps the interpreter while the loop waits for it, seconds. The loop
# gives it away in each of a call's system calls, and would wait Python's 5 ms each time.
SWITCH_S = 0.0005


class RewardReports:
    """Applies reward reports. RewardOnce: one effective reward per (node, scorer, version)."""

    def __init__(self, coordinator: Coordinator, run_of: Callable[[str], Run], turn: Turn) -> None:
        """Reports are checked against the store and then committed. Two at a time could both pass the check, and a tree
        could expire between the two: they take turns by `turn`."""
        self._coordinator = coordinator
        self._run_of = run_of
        self._turn = turn

    async def report(self, request: api.ReportRewardsRequest) -> api.ReportRewardsReply:
        """All or none. Only trees that have ended take rewards: their header is final."""
        for report in request.rewards:
            check_reward(report)
        # A caller that goes away must not end the turn: its commit is on its way, and whoever came next would put the
        # tree's credit together from rewards without it.
        return await asyncio.shield(asyncio.create_task(self._apply(request)))

    async def _apply(self, request: api.ReportRewardsRequest) -> api.ReportRewardsReply:
        async with self._turn:
            run = self._run_of(request.run_id)
            for report in request.rewards:
                _check_name(report, run)
            ids = sorted({report.tree_id for report in request.rewards})
            # One after the other: each comes page by page, and others have their turns between pages.
            found = {tree_id: await self._coordinator.store.load_tree(tree_id) for tree_id in ids}
            with _short_turns():
                commit, reply = await asyncio.to_thread(_rewarded, request, found, run)
            if commit:
                await self._coordinator.call(extra=commit)
        return reply


@contextmanager
def _short_turns() -> Iterator[None]:
    """Not for good: whoever takes segments would be slower by a sixth (`treeroll bench coordinator`)."""
    usual_s = sys.getswitchinterval()
    sys.setswitchinterval(SWITCH_S)
    try:
        yield
    finally:
        sys.setswitchinterval(usual_s)


def _rewarded(
    request: api.ReportRewardsRequest, found: Mapping[str, StoredTree | None], run: Run
) -> tuple[Commit, api.ReportRewardsReply]:
    """What is to be committed: rewards that are new, and headers of their trees, whose credit follows them."""
    commit, reply = Commit(), api.ReportRewardsReply()
    trees = {tree_id: _Rewarded.of(request.run_id, tree_id, stored) for tree_id, stored in found.items()}
    for report in request.rewards:
        scorer, version = report.scorer or records.CLIENT_SCORER, report.version or 1
        number = trees[report.tree_id].add(report, scorer, version)
        if number is None:
            reply.repeated += 1
            continue
        key = records.reward_key(number, scorer, version)
        row = records.reward_record(scorer, version, report.value, "")
        commit.rewards.setdefault(report.tree_id, {})[key] = row
        reply.applied += 1
    for tree_id in commit.rewards:
        tree = trees[tree_id].tree
        records.recredit(tree, run.spec.scorer, run.spec.advantage)
        commit.trees[tree_id] = records.header_of(tree)
    return commit, reply


@dataclass(frozen=True, slots=True)
class _Rewarded:
    """A tree that takes rewards."""

    tree: pb.Tree
    stored: int
    """Nodes that are stored of it."""
    nodes: dict[str, pb.Node]
    """By path, without the root."""

    @classmethod
    def of(cls, run_id: str, tree_id: str, stored: StoredTree | None) -> "_Rewarded":
        """UnknownTree, InvalidInput for one that has not ended."""
        tree = assemble(stored) if stored else None
        if stored is None or tree is None or tree.run_id != run_id:
            raise UnknownTree(f"run '{run_id}' has no tree '{tree_id}'")
        if tree.status not in ENDED:
            raise InvalidInput(f"tree '{tree_id}' has not ended; report its rewards once it is delivered")
        return cls(tree, len(stored.nodes), {node.path: node for node in tree.nodes if node.number})

    def add(self, report: api.RewardReport, scorer: str, version: int) -> int | None:
        """The number of the node that has a new reward; None if it has just that one already."""
        node = self.nodes.get(report.path)
        if node is None:
            raise UnknownNode(f"tree {report.tree_id} has no node '{report.path}'")
        if node.number >= self.stored:
            raise InvalidInput(
                f"node '{report.path}' of tree {report.tree_id} is the beginning of a segment that was split, and "
                f"takes no rewards; report those of the nodes below it"
            )
        known = next((r for r in node.rewards if (r.scorer, r.version) == (scorer, version)), None)
        if known is not None and known.HasField("value"):
            if known.value != report.value:
                raise RewardConflict(
                    f"node '{report.path}' of tree {report.tree_id} already has reward {known.value} from "
                    f"'{scorer}' version {version}; report {report.value} with a new version"
                )
            return None
        if known is not None:
            node.rewards.remove(known)  # an error is no reward: the client may replace it
        node.rewards.append(pb.Reward(scorer=scorer, version=version, value=report.value))
        return node.number


def _check_name(report: api.RewardReport, run: Run) -> None:
    """NotAllowed for a client that reports in the name of the run's own scorer: what that says, the service says."""
    if caller().role is Role.CLIENT and run.spec.scores_here and report.scorer in (run.spec.scorer, run.spec.judge):
        raise NotAllowed(
            f"rewards of scorer '{report.scorer}' of run '{run.spec.run_id}' come from the service; report yours under "
            "another name, or create the run with scorer 'client'"
        )
