"""Cost bands: all paths of the cheapest band go on together, then those of the next."""

from collections.abc import Mapping, Sequence
from typing import ClassVar

from pydantic import Field

from treeroll.policies.branch.rounds import Choice, RoundParams, RoundPolicy
from treeroll.policy.base import Limits
from treeroll.tree.node import Node
from treeroll.tree.tree import Tree
from treeroll.why import Why, because


class CostBand(RoundPolicy):
    """In each round the waiting paths whose costs lie in the current band go on; the band then rises to the next costs.

    A path's cost is the sum of 1 - value over its segments. Bands are `band` wide; a new path is in the one of its
    cost, or in the next one if that band has passed. Small bands come near to always taking the cheapest path first,
    large ones to taking all. Forks and the end are as its parameters say; `parallel` is not read, since a band is a
    round, however many are in it.

    Choices read other paths, so all segments but the first are retrospective: leaves are for training or for an answer,
    not for estimates of the mean reward.

    Bands and their order are of Group Marching Tree, a planner of motions, of which the abstract and a released file
    were read. Ours: the cost, an unknown value is 0.5, costs stay as they are when a segment comes, empty bands are
    skipped, and the search goes on behind the first path that ends.
    """

    name: ClassVar[str] = "cost_band"
    summary: ClassVar[str] = "all paths of the cheapest band of costs go on together, then those of the next"
    paper: ClassVar[str] = "Group Marching Tree, arXiv 1705.02403"
    explains: ClassVar[Mapping[str, str]] = {
        "cost_band.band": "its cost of {cost} lies in the cheapest band that waits, number {band} of those {wide} wide",
    }

    class Params(RoundParams):
        """How wide bands are."""

        band: float = Field(0.1, ge=1e-6, le=1e6, description="width of a band of costs")

    def __init__(self, params: Params, limits: Limits) -> None:
        super().__init__(params, limits)
        self._params = params

    def choice(self) -> Choice:
        """The bands of one tree."""
        return Bands(self._params)


class Bands:
    """Costs of all nodes so far, and the bands of those that wait."""

    def __init__(self, params: CostBand.Params) -> None:
        self._band = params.band
        self._values = params.model()
        self._costs: dict[int, float] = {0: 0.0}
        self._bands: dict[int, int] = {}
        self._current = -1

    def choose(self, tree: Tree, waiting: Sequence[Node], left: float) -> list[Node]:
        """The next band that is not empty."""
        self._values.update(tree)
        for node in waiting:
            if node.number not in self._costs:
                value = self._values.of(node)
                cost = self._costs[node.parent] + 1 - (0.5 if value is None else value)
                self._costs[node.number] = cost
                self._bands[node.number] = max(self._current + 1, int(cost / self._band))
        self._current = min(self._bands[node.number] for node in waiting)
        return [node for node in waiting if self._bands[node.number] == self._current]

    def why(self, node: Node) -> Why:
        """By its band."""
        return because("cost_band.band", cost=self._costs[node.number], band=self._current, wide=self._band)
