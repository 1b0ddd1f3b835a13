"""What a recipe is: the policies of a run, with the parameters that a paper gives them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final

from treeroll.policy.base import Limits

NO_PARAMS: Final[Mapping[str, object]] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Choice:
    """A policy by name, with the parameters that differ from its defaults."""

    name: str
    params: Mapping[str, object] = field(default_factory=lambda: NO_PARAMS)


@dataclass(frozen=True, slots=True)
class Recipe:
    """What a run uses unless it says otherwise. `about`: which of its settings are the source's, and which are ours."""

    name: str
    summary: str
    paper: str
    about: str
    limits: Limits
    segment: Choice
    branch: Choice
    prune: Choice
    advantage: Choice
    top_logprobs: int = 0  # candidates that entropies are estimated from
