"""Named bundles of policies with the defaults of their paper: `--recipe treepo`."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final

from treeroll.errors import InvalidInput
from treeroll.policies.base import Limits
from treeroll.policies.registry import echo

NO_PARAMS: Final[Mapping[str, object]] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Choice:
    """A policy by name, with the parameters that differ from its defaults."""

    name: str
    params: Mapping[str, object] = field(default_factory=lambda: NO_PARAMS)


@dataclass(frozen=True, slots=True)
class Recipe:
    """What a run uses unless it says otherwise."""

    name: str
    summary: str
    paper: str
    limits: Limits
    segment: Choice
    branch: Choice
    prune: Choice
    advantage: Choice


# 14 segments of 512 tokens, the best of the paper's shapes; both recipes share it, so that they compare.
PAPER_LIMITS: Final = Limits(leaves=16, segment_tokens=512, max_depth=14, max_tokens=14 * 512)

_TREEPO = Recipe(
    name="treepo",
    summary="trees of 16 leaves, forks at every segment, cut paths regrown, prefix-group advantages",
    paper="TreePO, arXiv 2508.17445",
    limits=PAPER_LIMITS,
    segment=Choice("fixed"),
    branch=Choice(
        "treepo",
        MappingProxyType({"branching": 2, "fallback": "random", "leaf_order": "finished_first", "split": "fixed_avg"}),
    ),
    prune=Choice("finish_tests", MappingProxyType({"boxed": "boxed_as_eos", "repetition": "last"})),
    advantage=Choice("treepo", MappingProxyType({"aggregate": "average"})),
)

# Ours: the same finish tests as treepo, so that the two differ in branching and credit only.
_FLAT = Recipe(
    name="flat",
    summary="16 independent samples per task with GRPO advantages: the baseline",
    paper="GRPO, DeepSeekMath, arXiv 2402.03300",
    limits=PAPER_LIMITS,
    segment=Choice("fixed"),
    branch=Choice("flat"),
    prune=Choice("finish_tests", MappingProxyType({"boxed": "boxed_as_eos", "repetition": "last"})),
    advantage=Choice("grpo"),
)

RECIPES: Final[Mapping[str, Recipe]] = MappingProxyType({recipe.name: recipe for recipe in (_TREEPO, _FLAT)})


def get(name: str) -> Recipe:
    """The recipe of this name."""
    if name not in RECIPES:
        raise InvalidInput(f"there is no recipe {echo(name)}; there is {', '.join(RECIPES)}")
    return RECIPES[name]
