"""TreeRPO: every node gets the same number of children (arXiv 2506.05183)."""

from typing import ClassVar

from pydantic import Field

from treeroll.policies.branch.fanout_growth import FanoutPolicy, TemperatureStep
from treeroll.policy import base
from treeroll.policy.base import Limits
from treeroll.policy.width import MAX_FANOUT, LeafCount


class TreeRPO(FanoutPolicy):
    """A full N-ary tree: every node above the last depth, the prompt included, gets `arity` children.

    N 8, depth 3, steps of 384 tokens in the paper, so 512 leaves if none ends early. A path ends on a stop token or at
    the last depth. All forks are boundary decisions, so path weights make leaf averages unbiased; those that sample at
    a temperature of their own (`temperature_step`, ours; the paper's is 0) have weight 0.

    Known from reviews only: neither code nor the paper's text was available. The depth is the run's max_depth (ours);
    the paper's threshold on a group's spread (0.1) filters training data and stops no growth, so it is not here.
    """

    name: ClassVar[str] = "treerpo"
    summary: ClassVar[str] = "a full tree: the same number of children at every node"
    paper: ClassVar[str] = "TreeRPO, arXiv 2506.05183"

    class Params(base.Params):
        """The shape of the tree."""

        arity: int = Field(8, ge=1, le=MAX_FANOUT, description="N, children of every node above max_depth")
        temperature_step: TemperatureStep = 0.0

    def __init__(self, params: Params, limits: Limits) -> None:
        depth = limits.max_depth
        count = LeafCount(
            "arity ** max_depth",
            lambda arity: int(arity**depth),
            {"arity": params.arity},
            at=f" at each of max_depth {depth}",
        )
        super().__init__((params.arity,) * depth, count, limits, params.temperature_step)
