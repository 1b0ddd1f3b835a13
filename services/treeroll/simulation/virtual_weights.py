"""Weights in a simulated world: what each incarnation has loaded, and what made each node."""

import random
from collections.abc import Callable

from treeroll.core.model.effects import Command, FlipWeights, PersistNode, StageWeights
from treeroll.core.model.events import Event, WeightsReported
from treeroll.core.model.weights import WeightsAnswer

# A replica by name and incarnation.
Incarnation = tuple[str, int]


class VirtualWeights:
    """Replicas take published weights after a while, or refuse."""

    def __init__(self, chance: random.Random, later: Callable[[Event, float], None]) -> None:
        self._chance = chance
        self._later = later
        self.loaded: dict[Incarnation, int] = {}
        self.made_by: dict[str, dict[int, int]] = {}
        """Of each node, by tree: the weights that its replica had when it was reported."""
        self.refusing: set[Incarnation] = set()
        """Incarnations that refuse whatever they are told."""

    def joined(self, key: Incarnation) -> None:
        """It has the model as it was started with."""
        self.loaded[key] = 0

    def order(self, command: Command) -> None:
        """The incarnation is told to stage weights, or to take them into use."""
        key = command.replica_id, command.incarnation
        if isinstance(command, StageWeights):
            version, answer = command.weights.version, WeightsAnswer.STAGED
        elif isinstance(command, FlipWeights):
            version, answer = command.version, WeightsAnswer.LOADED
        else:
            return
        if key in self.refusing:
            answer = WeightsAnswer.REFUSED
        report = WeightsReported(*key, version, answer, f"digest {version}", 0.1, "no")
        self._later(report, self._chance.expovariate(2.0))

    def happens(self, report: WeightsReported) -> None:
        """The replica has done it, and the coordinator hears of it next."""
        if report.answer is WeightsAnswer.LOADED:
            self.loaded[report.replica_id, report.incarnation] = report.version

    def made(self, effect: PersistNode) -> None:
        """A node is stored."""
        report = effect.report
        version = self.loaded[report.replica_id, report.incarnation]
        self.made_by.setdefault(effect.live.tree_id, {})[effect.node.number] = version
