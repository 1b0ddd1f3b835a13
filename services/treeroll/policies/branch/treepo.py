"""TreePO: segment-wise tree growth to a fixed width, with fallback (ByteDance Seed / M-A-P, arXiv 2508.17445)."""

from collections.abc import Mapping
from typing import ClassVar

from treeroll.errors import InvalidInput
from treeroll.policies.branch.treepo_level import LevelGrowth
from treeroll.policies.branch.treepo_params import TreePOParams
from treeroll.policies.branch.treepo_path import PathGrowth
from treeroll.policy.base import Growth, Limits
from treeroll.policy.needs import Needs
from treeroll.tree.tree import Tree


class TreePO:
    """Live paths fork up to b-fold at each segment until the width is reached; then finished paths are cut and regrown.

    Width w is `limits.leaves`, segment length l `limits.segment_tokens`, depth d `limits.max_depth`. A tree goes
    through: first branches (b, or a random number), splits of each step's budget over its live paths, and, when no path
    is live and leaves are missing, fallback rounds. Defaults are the code's (b 2, fixed_avg, random, finished_first).
    From paper and code are the first branches, the budget of a step, and that what an ended path would have had goes to
    live ones; all splits and their temperatures; the leaf orders and cuts of fallback; and the token cap.

    Forks are boundary decisions, so path weights make their leaves an unbiased average; fallback has read finished
    paths, so it is retrospective, and its leaves have path weight 0.

    Ours, because sources are silent or broken there: the initial range works (in the release it is dead code); leaves
    that min_tokens discards are replaced but at most `max_rounds` times; paths are cut at segment ends only; the strict
    leaf order is turned round, so that the best end comes first. Nothing couples the trees of a batch: with
    `sync=level` the split of a step is taken once for the tree, without waiting for anybody, with `path` each path has
    its quota.
    """

    name: ClassVar[str] = "treepo"
    summary: ClassVar[str] = "forks live paths at segment ends up to the width, then regrows cut paths"
    paper: ClassVar[str] = "TreePO, arXiv 2508.17445"
    needs: ClassVar[Needs] = Needs()
    Params: ClassVar[type[TreePOParams]] = TreePOParams
    explains: ClassVar[Mapping[str, str]] = {
        "treepo.step": "at step {step}, {live} live paths and {ended} that ended share out {total} paths (b {b}), "
        "and this one becomes {share}",
        "treepo.path": "its quota of {quota} leaves goes to {children} paths, of at most b {b}",
        "treepo.fallback": "round {round} of fallback: {missing} leaves are missing beside {leaves}, and {forks} "
        "branches (b {b} a cut) begin here",
    }

    def __init__(self, params: TreePOParams, limits: Limits) -> None:
        for setting in ("min_width", "initial_min"):
            if (getattr(params, setting) or 0) > limits.leaves:
                raise InvalidInput(
                    f"branch policy 'treepo': {setting} {getattr(params, setting)} is above leaves {limits.leaves}; "
                    "lower it or ask for more leaves"
                )
        self._params = params
        self._limits = limits

    @property
    def max_leaves(self) -> int:
        """Upper bound on the leaves (not counting pruned ones) of one tree."""
        return self._limits.leaves

    def grow(self, tree: Tree) -> Growth:
        """A fresh memory for a new tree."""
        kind = LevelGrowth if self._params.sync == "level" else PathGrowth
        return kind(self._params, self._limits)
