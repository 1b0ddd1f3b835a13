"""From a recipe's name, limits and overrides to the policies of a run."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from treeroll.errors import InvalidInput
from treeroll.policies import recipes, registry
from treeroll.policies.clashes import clashes
from treeroll.policies.recipe import Choice
from treeroll.policy.base import AdvantageEstimator, BranchPolicy, Limits, PrunePolicy, SegmentPolicy

# Sections of a recipe that a run may override.
SECTIONS = ("segment", "branch", "prune", "advantage")


@dataclass(frozen=True, slots=True)
class Policies:
    """The policies that decide about the trees of one run."""

    segment: SegmentPolicy
    branch: BranchPolicy
    prune: PrunePolicy
    advantage: AdvantageEstimator


def build_policies(
    recipe_name: str, limits: Limits | None = None, overrides: Mapping[str, Mapping[str, object]] | None = None
) -> Policies:
    """Policies of a recipe, changed by overrides such as {"branch": {"sync": "path"}}.

    `name` inside a section swaps the policy; the recipe's parameters of that section then no longer apply. `limits`
    are the recipe's unless given.

    Raises:
        InvalidInput: recipe, section, policy, parameter or combination is wrong.
    """
    recipe = recipes.get(recipe_name)
    shape = limits or recipe.limits
    _check_limits(shape)
    chosen = resolve(recipe_name, overrides or {})
    built = {kind: registry.build(kind, choice.name, choice.params, shape) for kind, choice in chosen.items()}
    policies = Policies(**built)
    for clash in clashes(policies, chosen, shape):
        raise InvalidInput(clash)
    return policies


def build_named(kind: str, section: Mapping[str, object], limits: Limits) -> Any:
    """The policy of a section that recipes do not have, such as {"name": "knapsack", "least": 4}.

    Raises:
        InvalidInput: it has no name, or policy or parameter are wrong.
    """
    params = {key: value for key, value in section.items() if key != "name"}
    if not section.get("name"):
        raise InvalidInput(f"{kind} has parameters ({', '.join(params)}) but no name; see `treeroll policies`")
    return registry.build(kind, str(section["name"]), params, limits)


def resolve(recipe_name: str, overrides: Mapping[str, Mapping[str, object]]) -> dict[str, Choice]:
    """The policy of each section with its parameters, overrides applied, values not yet checked."""
    recipe = recipes.get(recipe_name)
    for section in overrides:
        if section not in SECTIONS:
            raise InvalidInput(
                f"overrides have a section {registry.echo(section)}; the sections are {', '.join(SECTIONS)}"
            )
    return {section: _merged(getattr(recipe, section), overrides.get(section, {})) for section in SECTIONS}


def _merged(choice: Choice, override: Mapping[str, object]) -> Choice:
    name = str(override.get("name", choice.name))
    params = {key: value for key, value in override.items() if key != "name"}
    return Choice(name, {**choice.params, **params} if name == choice.name else params)


def _check_limits(limits: Limits) -> None:
    for name in ("leaves", "segment_tokens", "max_depth", "max_tokens"):
        if getattr(limits, name) < 1:
            raise InvalidInput(f"limits: {name} is {getattr(limits, name)}; it must be at least 1")
