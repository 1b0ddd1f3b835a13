"""From a recipe's name, a shape and overrides to the policies of a run: looked up once, and checked once."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from treeroll.errors import InvalidInput
from treeroll.policies import recipes, registry
from treeroll.policies.clashes import clashes
from treeroll.policies.policies import Policies
from treeroll.policies.recipe import Choice, Recipe
from treeroll.policy.base import BranchPolicy, Limits

# Sections of a recipe that a run may override.
SECTIONS = ("segment", "branch", "prune", "advantage")
Overrides = Mapping[str, Mapping[str, object]]


@dataclass(frozen=True, slots=True)
class Resolution:
    """A run's recipe, its shape, and the policies that both and its overrides make."""

    recipe: Recipe
    limits: Limits
    chosen: Mapping[str, Choice]
    """The policy of each section with its parameters, overrides applied."""
    policies: Policies
    _growths: dict[int, BranchPolicy] = field(default_factory=dict)

    def growth_of(self, leaves: int) -> BranchPolicy:
        """The run's growth for another number of leaves. InvalidInput if it cannot be."""
        if leaves not in self._growths:
            self._growths[leaves] = _built(self.chosen, replace(self.limits, leaves=leaves)).branch
        return self._growths[leaves]

    def settings(self) -> dict[str, dict[str, Any]]:
        """The policy of each section by name, with all its parameters as JSON has them."""
        found = {}
        for section, choice in self.chosen.items():
            params = registry.find(section, choice.name).Params.model_validate(dict(choice.params))
            found[section] = {"name": choice.name, **params.model_dump(mode="json")}
        return found


def resolve(recipe_name: str, limits: Limits | None = None, overrides: Overrides | None = None) -> Resolution:
    """A recipe, changed by overrides such as {"branch": {"sync": "path"}}.

    `name` inside a section swaps the policy; the recipe's parameters of that section then no longer apply. `limits`
    are the recipe's unless given.

    Raises:
        InvalidInput: recipe, section, policy, parameter or combination is wrong.
    """
    recipe = recipes.get(recipe_name)
    shape = limits or recipe.limits
    _check_limits(shape)
    chosen = choices(recipe, overrides or {})
    return Resolution(recipe, shape, chosen, _built(chosen, shape))


def build_policies(recipe_name: str, limits: Limits | None = None, overrides: Overrides | None = None) -> Policies:
    """The policies alone of what `resolve` gives."""
    return resolve(recipe_name, limits, overrides).policies


def build_named(kind: str, section: Mapping[str, object], limits: Limits) -> Any:
    """The policy of a section that recipes do not have, such as {"name": "knapsack", "least": 4}.

    Raises:
        InvalidInput: it has no name, or policy or parameter are wrong.
    """
    params = {key: value for key, value in section.items() if key != "name"}
    if not section.get("name"):
        raise InvalidInput(f"{kind} has parameters ({', '.join(params)}) but no name; see `treeroll policies`")
    return registry.build(kind, str(section["name"]), params, limits)


def shape(
    recipe: Recipe,
    leaves: int | None = None,
    segment_tokens: int | None = None,
    max_depth: int | None = None,
    max_tokens: int | None = None,
) -> Limits:
    """The shape of a run's trees: what it does not say is its recipe's."""
    usual = recipe.limits
    tokens, depth = segment_tokens or usual.segment_tokens, max_depth or usual.max_depth
    longest = tokens * depth if segment_tokens or max_depth else usual.max_tokens
    return Limits(leaves or usual.leaves, tokens, depth, max_tokens or longest)


def choices(recipe: Recipe, overrides: Overrides) -> dict[str, Choice]:
    """The policy of each section with its parameters, overrides applied, values not yet checked."""
    for section in overrides:
        if section not in SECTIONS:
            raise InvalidInput(
                f"overrides have a section {registry.echo(section)}; the sections are {', '.join(SECTIONS)}"
            )
    return {section: _merged(getattr(recipe, section), overrides.get(section, {})) for section in SECTIONS}


def _built(chosen: Mapping[str, Choice], limits: Limits) -> Policies:
    built = {kind: registry.build(kind, choice.name, choice.params, limits) for kind, choice in chosen.items()}
    policies = Policies(**built)
    for clash in clashes(policies, chosen, limits):
        raise InvalidInput(clash)
    return policies


def _merged(choice: Choice, override: Mapping[str, object]) -> Choice:
    name = str(override.get("name", choice.name))
    params = {key: value for key, value in override.items() if key != "name"}
    return Choice(name, {**choice.params, **params} if name == choice.name else params)


def _check_limits(limits: Limits) -> None:
    for name in ("leaves", "segment_tokens", "max_depth", "max_tokens"):
        if getattr(limits, name) < 1:
            raise InvalidInput(f"limits: {name} is {getattr(limits, name)}; it must be at least 1")
