"""SPO-tree: a list of fan-outs by depth (Segment Policy Optimization, arXiv 2505.23564)."""

from math import prod
from typing import Annotated, ClassVar

from pydantic import Field

from treeroll.errors import InvalidInput
from treeroll.policies.branch.fanout_growth import FanoutPolicy, TemperatureStep
from treeroll.policy import base
from treeroll.policy.base import Limits
from treeroll.policy.width import MAX_FANOUT, LeafCount


class SPO(FanoutPolicy):
    """The prompt gets fanouts[0] children, each of them fanouts[1], and so on; a child that ends early is a leaf.

    6,6,6 is the default; the authors' configurations also have 4,5,6 and 6,5,4 and 4,4,4 and 8,8,8. Subtrees grow
    beside each other without a barrier, as theirs do. Segment lengths are the segment policy's: `per_depth` with a
    free last one is the paper's. All forks are boundary decisions, so path weights make leaf averages unbiased; those
    that sample at a temperature of their own (`temperature_step`, ours; the paper's is 0) have weight 0.

    Ours: a list shorter than the paths is allowed and lets them run on without forks; one that is longer than
    the paths can ever be, or that can make more leaves than the run asks for, is refused.
    """

    name: ClassVar[str] = "spo"
    summary: ClassVar[str] = "a fixed number of children at each depth, by a list"
    paper: ClassVar[str] = "SPO-tree, arXiv 2505.23564"

    class Params(base.Params):
        """The shape of the tree."""

        fanouts: tuple[Annotated[int, Field(ge=1, le=MAX_FANOUT)], ...] = Field(
            (6, 6, 6), min_length=1, description="children of the prompt, of nodes at depth 1, 2, ..."
        )
        temperature_step: TemperatureStep = 0.0

    def __init__(self, params: Params, limits: Limits) -> None:
        fanouts = params.fanouts
        if len(fanouts) > limits.max_depth:
            raise InvalidInput(
                f"branch policy 'spo': fanouts has {len(fanouts)} entries, above max_depth {limits.max_depth}; "
                "shorten fanouts or raise max_depth"
            )
        count = LeafCount("product of fanouts", prod, {"fanouts": fanouts})
        super().__init__(fanouts, count, limits, params.temperature_step)
