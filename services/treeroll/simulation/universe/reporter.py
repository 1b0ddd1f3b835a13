"""Who reports rewards: late, again, and with another value, which the first one excludes."""

from typing import TYPE_CHECKING

from treeroll.errors import InvalidInput, RewardConflict, UnknownNode, UnknownRun, UnknownTree
from treeroll.pb.v1 import common_pb2 as pb
from treeroll.pb.v1 import rollout_pb2 as api
from treeroll.records.assemble import assemble
from treeroll.simulation.universe.oracles import Broken
from treeroll.simulation.universe.requests import Request
from treeroll.simulation.universe.surroundings import Aborted, refused
from treeroll.store.base import StoredTree

if TYPE_CHECKING:
    from treeroll.simulation.universe.universe import Universe

# Tree, path of the node, scorer, version: one reward.
Key = tuple[str, str, str, int]
SCORERS = (("teacher", 1), ("exact", 2))
"""Not the run's own reward, and a newer version of it, by which credit goes from then on."""


class Reporter:
    """Keeps what it has asked for and what it was told: an unanswered report may act later, or never."""

    def __init__(self, universe: "Universe") -> None:
        self._universe = universe
        self._asked: dict[Key, set[float]] = {}
        self._told: dict[Key, float] = {}
        self._losses = 0

    def forget(self) -> None:
        """The store may have lost what it was told, or is told yet of a report from before."""
        self._told.clear()
        self._losses += 1

    def delivered(self, tree_id: str) -> None:
        """A trainer has a tree, and somebody judges it."""
        universe, stored = self._universe, self._universe.store._trees.get(tree_id)
        if stored is None or not stored.header or universe.random.random() < 0.5:
            return
        tree = assemble(StoredTree(stored.header, stored.nodes, {}))
        paths = [node.path for node in tree.nodes if 0 < node.number < len(stored.nodes)]
        if not paths:
            return
        path, (scorer, version) = universe.random.choice(paths), universe.random.choice(SCORERS)
        for value in universe.random.choice(((0.5,), (0.5, 0.5), (0.5, 0.25))):
            universe.after(universe.random.expovariate(0.5), self._report, (tree_id, path, scorer, version), value)

    def _report(self, key: Key, value: float) -> None:
        tree_id, path, scorer, version = key
        self._asked.setdefault(key, set()).add(value)
        report = api.RewardReport(tree_id=tree_id, path=path, value=value, scorer=scorer, version=version)
        request = api.ReportRewardsRequest(run_id=self._universe.spec.run_id, rewards=[report])
        losses = self._losses
        Request(self._universe, "ReportRewards", request, lambda got, error: self._answered(key, value, error, losses))

    def _answered(self, key: Key, value: float, error: Aborted | None, losses: int) -> None:
        universe = self._universe
        if error is None and losses != self._losses:
            return
        told = self._told.get(key)
        if error is None:
            if told not in (None, value):
                universe.found("RewardOnce", f"{key} is {value} for one client, and {told} for another")
            self._told[key] = value
        elif refused(error, RewardConflict):
            if told == value or len(self._asked[key]) < 2:
                universe.found("RewardOnce", f"{key} has been {value}, or never anything else, and is denied: {error}")
        elif universe.store.lost_at is not None and refused(error, InvalidInput, UnknownNode):
            return  # the tree is another one by now, or grows again
        elif not refused(error, UnknownTree, UnknownRun):  # it has expired
            universe.found("Answered", f"who reports a reward is told {error}")

    def check(self, trees: dict[str, StoredTree]) -> list[Broken]:
        """What was told is stored, and nothing that was not asked for."""
        found: list[Broken] = []
        for tree_id in sorted({key[0] for key in self._asked} & trees.keys()):
            numbers = {node.path: node.number for node in assemble(trees[tree_id]).nodes}
            for key in sorted(key for key in self._asked if key[0] == tree_id):
                number = numbers.get(key[1])
                if number is None and self._universe.store.lost_at is None:
                    found.append(
                        Broken("NoAckedLoss", f"tree {tree_id} was delivered with node {key[1]}, and has none")
                    )
                blob = trees[tree_id].rewards.get(f"{number}:{key[2]}:{key[3]}")  # none, if the tree was grown anew
                value = pb.Reward.FromString(blob).value if blob is not None else None
                if (told := self._told.get(key)) not in (None, value):
                    found.append(Broken("NoAckedLoss", f"reward {key} was acknowledged as {told}, stored is {value}"))
                if value is not None and value not in self._asked[key]:
                    found.append(Broken("RewardOnce", f"reward {key} is {value}, which nobody reported"))
        return found
