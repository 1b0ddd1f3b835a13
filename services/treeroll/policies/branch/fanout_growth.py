"""Growth with a fixed number of children per depth: nothing is counted, compared or waited for."""

from collections.abc import Mapping, Sequence
from typing import Annotated, ClassVar

from pydantic import Field

from treeroll.errors import InvalidInput
from treeroll.policy.base import MAX_TEMPERATURE_SCALE, Expansion, Growth, Limits
from treeroll.policy.needs import Needs
from treeroll.policy.width import LeafCount, within_leaves
from treeroll.tree.node import BranchReason, Node, NodeStatus
from treeroll.tree.tree import Tree
from treeroll.why import because

TemperatureStep = Annotated[
    float,
    Field(ge=0, le=1, description="forks at depth k sample at 1 + k times this, times the run's temperature"),
]


class FanoutPolicy:
    """What policies of fixed fan-outs share; `count` says which settings made them.

    With a `temperature_step` forks sample the hotter the deeper they start: at depth k at 1 + temperature_step * k
    times the run's temperature. Ours, after Dynamic-TreeRPO (arXiv 2509.23352), where the noise of image generation
    grows linearly with tree depth: for text it gives no rule, and only the idea is taken. The branch that made a node
    goes on at the temperature it has. Leaves of such forks are no sample of the run's policy: they have path weight 0,
    and path-weighted averages are over what the first branches alone would have brought.
    """

    name: ClassVar[str]
    needs: ClassVar[Needs] = Needs()
    explains: ClassVar[Mapping[str, str]] = {
        "fanout.depth": "every node at depth {depth} that goes on has {children} children",
    }

    def __init__(self, fanouts: Sequence[int], count: LeafCount, limits: Limits, temperature_step: float) -> None:
        self.leaf_count = count
        self.max_leaves = within_leaves(self.name, count, limits)
        self.fanouts = fanouts
        self.settings = count.described()
        self._temperature_step = temperature_step
        if temperature_step:
            self._check_temperatures()

    def grow(self, tree: Tree) -> Growth:
        """A fresh memory for a new tree."""
        return FanoutGrowth(self.fanouts, self._temperature_step)

    def _check_temperatures(self) -> None:
        deepest = max((depth for depth, children in enumerate(self.fanouts) if children > 1), default=0)
        step = f"branch policy '{self.name}': temperature_step {self._temperature_step:g}"
        if deepest == 0:
            raise InvalidInput(
                f"{step} and {self.settings} cannot work together: nothing forks below the prompt, so nothing would "
                "sample at another temperature; set temperature_step to 0 or fork deeper"
            )
        highest = _temperature_scale(self._temperature_step, deepest)
        if highest > MAX_TEMPERATURE_SCALE:
            raise InvalidInput(
                f"{step} multiplies the temperature by {highest:g} at depth {deepest}, where {self.settings} still "
                f"forks; the most is {MAX_TEMPERATURE_SCALE:g}: lower temperature_step or fork less deep"
            )


class FanoutGrowth:
    """Every node that ends at depth k (the prompt at 0) gets `fanouts[k]` children; beyond the list, one.

    A node is decided the moment it arrives, from its depth alone, so all of a tree grows at once and the order of
    arrival cannot matter. The branch that made a node goes on as its first child.
    """

    def __init__(self, fanouts: Sequence[int], temperature_step: float) -> None:
        self._fanouts = fanouts
        self._temperature_step = temperature_step

    def start(self, tree: Tree) -> list[Expansion]:
        """First branches, all at the prompt."""
        return [Expansion(tree.root.number, self._fanouts[0], BranchReason.INITIAL, resume=False)]

    def on_node(self, tree: Tree, node: Node) -> list[Expansion]:
        """Decides this node at once."""
        if node.status is not NodeStatus.INNER:
            return []
        children = self._fanouts[node.depth] if node.depth < len(self._fanouts) else 1
        scale = _temperature_scale(self._temperature_step, node.depth)
        why = because("fanout.depth", depth=node.depth, children=children) if children > 1 else None
        return [Expansion(node.number, children - 1, temperature_scale=scale, why=why)]

    def on_idle(self, tree: Tree) -> list[Expansion]:
        """Nothing is made up for: a path that ended early is a leaf."""
        return []


def _temperature_scale(step: float, depth: int) -> float:
    """What the run's temperature is multiplied by in forks at this depth."""
    return 1.0 + step * depth
