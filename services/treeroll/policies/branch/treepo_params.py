"""Parameters of TreePO growth: names as in the release where it has them, defaults of the code or the paper."""

from typing import Literal, Self

from pydantic import Field, model_validator

from treeroll.policy.base import Params

Sync = Literal["level", "path"]
Divergence = Literal["by_fixed_div", "by_random_div"]
TotalBudget = Literal["by_response_traj", "by_response_token"]
Split = Literal[
    "fixed_avg",
    "logprob_weighted",
    "inverse_logprob_weighted",
    "norm_logprob_weighted",
    "norm_inverse_logprob_weighted",
    "node_logprob_weighted",
    "node_inverse_logprob_weighted",
]
Schedule = Literal["none", "ascending", "descending"]
Cut = Literal["random", "min_logprob", "block", "inverse_block", "from_start", "none"]
LeafOrder = Literal[
    "finished_first", "finished_first_strict", "random_all", "soft_boxed_and_eos", "longer_first", "boxed_ge_window"
]

# Far above any width in use; keeps one decision's work small.
MAX_BRANCHING = 1024


class TreePOParams(Params):
    """How a TreePO tree grows. Modes that couple the trees of a batch (one k0 for all, tokens per step) do not exist
    here: a tree depends on its own seed, policy and tokens only (ForkBlind).
    """

    branching: int = Field(2, ge=1, le=MAX_BRANCHING, description="b, paths a live path may become at one step")
    divergence: Divergence = Field("by_fixed_div", description="b constant, or drawn anew at each step")
    random_div_min: int = Field(2, ge=1, le=MAX_BRANCHING, description="smallest b of by_random_div")
    random_div_max: int = Field(4, ge=1, le=MAX_BRANCHING, description="largest b of by_random_div")

    initial: Literal["fixed", "random"] = Field("fixed", description="first branches: b, or a draw per tree")
    initial_min: int | None = Field(None, ge=1, description="smallest draw of first branches; none is b")
    initial_max: int = Field(8, ge=1, description="largest draw of first branches, at most leaves")

    total_budget: TotalBudget = Field("by_response_traj", description="what bounds the width: leaves, or tokens too")
    token_cap: int | None = Field(None, ge=1, description="completion tokens per tree, of by_response_token")
    min_width: int = Field(1, ge=1, description="leaves a token cap may not go below")

    split: Split = Field("fixed_avg", description="how paths share a step's forks")
    tau: float = Field(1.0, gt=0, description="temperature of a weighted split")
    tau_schedule: Schedule = Field("none", description="half a sine from tau_min to tau_max, or back")
    tau_min: float = Field(0.5, gt=0, description="lowest scheduled temperature")
    tau_max: float = Field(10.0, gt=0, description="highest scheduled temperature")
    progress: float = Field(0.0, ge=0, le=1, description="share of training done, for the schedule")

    sync: Sync = Field("level", description="split per step over the tree, or per path at once")

    fallback: Cut = Field("random", description="where a finished path is cut to reach the width")
    leaf_order: LeafOrder = Field("finished_first", description="which finished paths fall back first")
    boxed_min_windows: int = Field(1, ge=1, description="shortest answer boxed_ge_window takes, in windows")
    window_tokens: int | None = Field(None, ge=1, description="fallback window; none is segment_tokens")
    max_window: int | None = Field(None, ge=1, description="most windows a random cut drops; none is all")
    max_rounds: int = Field(8, ge=0, description="most fallback rounds per tree")

    @model_validator(mode="after")
    def _ranges(self) -> Self:
        for low, high in (("random_div_min", "random_div_max"), ("tau_min", "tau_max")):
            if getattr(self, low) > getattr(self, high):
                raise ValueError(
                    f"{low} {getattr(self, low)} is above {high} {getattr(self, high)}; swap or change them"
                )
        lowest = self.initial_min or self.branching
        if self.initial == "random" and lowest > self.initial_max:
            raise ValueError(f"initial_min {lowest} (branching if unset) is above initial_max {self.initial_max}")
        return self

    @model_validator(mode="after")
    def _combinations(self) -> Self:
        if self.sync == "path" and self.split != "fixed_avg":
            raise ValueError(
                f"split={self.split} compares the paths of a step, which sync=path never does; "
                "use sync=level or split=fixed_avg"
            )
        if self.sync == "path" and self.total_budget == "by_response_token":
            raise ValueError(
                "total_budget=by_response_token reads the tokens of finished paths, which sync=path never does; "
                "use sync=level or total_budget=by_response_traj"
            )
        if (self.token_cap is not None) != (self.total_budget == "by_response_token"):
            raise ValueError("token_cap and total_budget=by_response_token need each other; set both or neither")
        if self.tau_schedule != "none" and self.split == "fixed_avg":
            raise ValueError(
                f"tau_schedule={self.tau_schedule} has no effect with split=fixed_avg; choose a weighted split or none"
            )
        return self
