"""`treeroll policies`: what decides about trees, with parameters, defaults, bounds and papers."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from treeroll.policies.registry import PolicyRow


def policies(
    name: Annotated[
        str | None,
        typer.Argument(metavar="[NAME]", help="A recipe, policy or scorer: show it in full.", show_default=False),
    ] = None,
) -> None:
    """List recipes, policies and scorers; with a name, show its parameters, defaults and bounds.

    A recipe bundles one policy per section. A run may change any parameter, or swap a policy by its name:

      treeroll rollout ... --recipe treepo --set run.branch.sync=path

      treeroll rollout ... --recipe flat --set run.advantage.name=treepo

    [bold]Examples[/bold]

      treeroll policies

      treeroll policies treepo
    """
    from treeroll.cli.console import out
    from treeroll.errors import InvalidInput

    console = out()
    found = list(_everything() if name is None else _about(name))
    if not found:
        raise InvalidInput(f"there is no recipe, policy or scorer '{name}'; `treeroll policies` lists them")
    for index, part in enumerate(found):
        if index:
            console.print()
        console.print(part)


def _everything() -> list[Any]:
    from treeroll.cli.console import table
    from treeroll.policies.recipes import RECIPES
    from treeroll.policies.registry import describe
    from treeroll.scorers.registry import summaries

    recipes = [
        (
            r.name,
            r.summary,
            " ".join(f"{s}={getattr(r, s).name}" for s in ("segment", "branch", "prune", "advantage")),
            r.paper,
        )
        for r in RECIPES.values()
    ]
    rows = [(p.kind, p.name, p.summary, ", ".join(x.name for x in p.parameters) or "-", p.paper) for p in describe()]
    return [
        table("recipes (--recipe)", ("name", "what", "policies", "paper"), recipes),
        table("policies", ("section", "name", "what", "parameters", "paper"), rows),
        table("scorers (--scorer)", ("name", "what"), list(summaries().items())),
    ]


def _about(name: str) -> list[Any]:
    from treeroll.cli.console import table
    from treeroll.policies.recipes import RECIPES
    from treeroll.policies.registry import describe
    from treeroll.scorers.registry import summaries

    parts: list[Any] = []
    if name in RECIPES:
        parts.append(_recipe(name))
    parts += [_policy(row) for row in describe() if row.name == name]
    scorers = [
        (usage, what) for usage, what in summaries().items() if usage.partition("[")[0].partition(":")[0] == name
    ]
    return [*parts, table(f"scorer {name}", ("name", "what"), scorers)] if scorers else parts


def _recipe(name: str) -> Any:
    from treeroll.cli.console import table
    from treeroll.policies.recipes import RECIPES

    recipe = RECIPES[name]
    rows = [
        (
            section,
            getattr(recipe, section).name,
            ", ".join(f"{key}={value}" for key, value in getattr(recipe, section).params.items()) or "-",
        )
        for section in ("segment", "branch", "prune", "advantage")
    ]
    return table(f"recipe {name}: {recipe.summary} ({recipe.paper})", ("section", "policy", "other than default"), rows)


def _policy(row: "PolicyRow") -> Any:
    from treeroll.cli.console import table

    rows = [(p.name, p.type, p.default, p.bounds or "-", p.description) for p in row.parameters]
    title = f"{row.kind} policy {row.name}: {row.summary} ({row.paper})"
    return table(title, ("parameter", "type", "default", "bounds", "what"), rows)
