"""Recipes of growth across the frontier: all paths wait at a segment's end, and a rule says which of them go on."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from treeroll.policies.recipe import Choice, Recipe
from treeroll.policy.base import Limits

# Ours, for searches whose sources do not grow trees of segments.
_LIMITS: Final = Limits(leaves=16, segment_tokens=256, max_depth=16, max_tokens=16 * 256)
_COMMON: Final = "So are treepo's finish tests and GRPO's credit: the source does not grow trees for training."


def _search(name: str, summary: str, paper: str, about: str, limits: Limits, params: Mapping[str, object]) -> Recipe:
    return Recipe(
        name=name,
        summary=summary,
        paper=paper,
        about=f"{about} {_COMMON}",
        limits=limits,
        segment=Choice("fixed", MappingProxyType({"hold": True})),
        branch=Choice(name, MappingProxyType(dict(params))),
        prune=Choice("finish_tests", MappingProxyType({"boxed": "boxed_as_eos", "repetition": "last"})),
        advantage=Choice("grpo"),
    )


SEARCHES: Final = (
    _search(
        "rebase",
        "all paths wait at a segment's end, then the best get most of 16 continuations",
        "REBASE, arXiv 2408.00724",
        "Width, T, and steps of up to 256 tokens of 1,024 are the paper's, as are 25 steps at most. Ours: "
        "segments of fixed length, as treepo has, so that a path has four of them.",
        Limits(leaves=16, segment_tokens=256, max_depth=25, max_tokens=4 * 256),
        {"temperature": 0.2},
    ),
    _search(
        "dora",
        "as rebase with 64 continuations, which near copies of a path do not get more of",
        "DORA, Every Rollout Counts (paper and code in WangXinglin/DORA)",
        "The width of the paper's main comparison, its two temperatures and its lengths; 40 steps at most are its "
        "code's. Ours: segments of fixed length, where it has steps that end at a blank line.",
        Limits(leaves=64, segment_tokens=256, max_depth=40, max_tokens=8 * 256),
        {"temperature": 0.1, "similarity_temperature": 0.01},
    ),
    _search(
        "ets",
        "as rebase, after ending paths that are not worth the cache they keep; 16 continuations",
        "ETS, arXiv 2502.13575",
        "The paper's figures for width 16. Ours: segments of fixed length, as for rebase.",
        Limits(leaves=16, segment_tokens=256, max_depth=25, max_tokens=4 * 256),
        {"temperature": 0.2, "price": 1.0, "coverage": 1.5, "distance": 0.05},
    ),
    _search(
        "bavt",
        "paths drawn by value go on, the more greedily the less is left; up to 16 leaves",
        "BAVT, arXiv 2603.12634",
        "Ours: the shape.",
        _LIMITS,
        {},
    ),
    _search(
        "uct",
        "paths chosen by upper confidence bounds go on, four at a time; up to 16 leaves",
        "bound as in ReST-MCTS*, arXiv 2406.03816",
        "Ours: the shape.",
        _LIMITS,
        {"exploration": 0.7},
    ),
    _search(
        "cost_band",
        "the cheapest band of paths goes on, then the next; up to 16 leaves",
        "Group Marching Tree, arXiv 1705.02403",
        "Ours: the shape.",
        _LIMITS,
        {"band": 0.1},
    ),
    _search(
        "depth_first",
        "the deepest paths go on first, four at a time; up to 16 leaves",
        "none; the baseline of searches by value",
        "Ours: the shape.",
        _LIMITS,
        {},
    ),
)
