"""Rewards written back by clients: late, again, and for any node of a tree."""

import asyncio
from collections.abc import Callable, Iterable, Sequence

from treeroll.access.identity import Role, caller
from treeroll.coordinator import records
from treeroll.coordinator.audit import ENDED
from treeroll.coordinator.loop import Coordinator
from treeroll.coordinator.specs import check_reward
from treeroll.core.model.run import Run
from treeroll.errors import InvalidInput, NotAllowed, RewardConflict, UnknownNode, UnknownTree
from treeroll.pb.v1 import common_pb2 as pb
from treeroll.pb.v1 import rollout_pb2 as api
from treeroll.records.assemble import assemble
from treeroll.store.base import Commit, StoredTree


class RewardReports:
    """Applies reward reports. RewardOnce: one effective reward per (node, scorer, version)."""

    def __init__(self, coordinator: Coordinator, run_of: Callable[[str], Run], turn: asyncio.Lock) -> None:
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
            trees = await self._load(request)
            commit, reply = Commit(), api.ReportRewardsReply()
            for report in request.rewards:
                self._add(*trees[report.tree_id], report, commit, reply)
            changed = [trees[tree_id][0] for tree_id in commit.rewards]
            commit.trees |= await asyncio.to_thread(_recredited, changed, run)
            if commit:
                await self._coordinator.call(extra=commit)
        return reply

    async def _load(self, request: api.ReportRewardsRequest) -> dict[str, tuple[pb.Tree, int]]:
        """Trees, and how many nodes are stored of each."""
        ids = sorted({report.tree_id for report in request.rewards})
        found = await self._coordinator.store.load_trees(ids)
        return await asyncio.to_thread(_assembled, request.run_id, ids, found)

    def _add(
        self, tree: pb.Tree, stored: int, report: api.RewardReport, commit: Commit, reply: api.ReportRewardsReply
    ) -> None:
        node = next((node for node in tree.nodes if node.path == report.path and node.number), None)
        if node is None:
            raise UnknownNode(f"tree {report.tree_id} has no node '{report.path}'")
        if node.number >= stored:
            raise InvalidInput(
                f"node '{report.path}' of tree {report.tree_id} is the beginning of a segment that was split, and "
                f"takes no rewards; report those of the nodes below it"
            )
        scorer, version = report.scorer or records.CLIENT_SCORER, report.version or 1
        known = next((r for r in node.rewards if (r.scorer, r.version) == (scorer, version)), None)
        if known is not None and known.HasField("value"):
            if known.value != report.value:
                raise RewardConflict(
                    f"node '{report.path}' of tree {report.tree_id} already has reward {known.value} from "
                    f"'{scorer}' version {version}; report {report.value} with a new version"
                )
            reply.repeated += 1
            return
        if known is not None:
            node.rewards.remove(known)  # an error is no reward: the client may replace it
        node.rewards.append(pb.Reward(scorer=scorer, version=version, value=report.value))
        key = records.reward_key(node.number, scorer, version)
        row = records.reward_record(scorer, version, report.value, "")
        commit.rewards.setdefault(report.tree_id, {})[key] = row
        reply.applied += 1


def _check_name(report: api.RewardReport, run: Run) -> None:
    """NotAllowed for a client that reports in the name of the run's own scorer: what that says, the service says."""
    if caller().role is Role.CLIENT and run.spec.scores_here and report.scorer in (run.spec.scorer, run.spec.judge):
        raise NotAllowed(
            f"rewards of scorer '{report.scorer}' of run '{run.spec.run_id}' come from the service; report yours under "
            "another name, or create the run with scorer 'client'"
        )


def _assembled(
    run_id: str, tree_ids: Sequence[str], found: Sequence[StoredTree | None]
) -> dict[str, tuple[pb.Tree, int]]:
    trees = {}
    for tree_id, stored in zip(tree_ids, found, strict=True):
        tree = assemble(stored) if stored else None
        if stored is None or tree is None or tree.run_id != run_id:
            raise UnknownTree(f"run '{run_id}' has no tree '{tree_id}'")
        if tree.status not in ENDED:
            raise InvalidInput(f"tree '{tree_id}' has not ended; report its rewards once it is delivered")
        trees[tree_id] = tree, len(stored.nodes)
    return trees


def _recredited(trees: Iterable[pb.Tree], run: Run) -> dict[str, bytes]:
    """Headers by tree id: the stored credit follows the rewards."""
    headers = {}
    for tree in trees:
        records.recredit(tree, run.spec.scorer, run.spec.advantage)
        headers[tree.tree_id] = records.header_of(tree)
    return headers
