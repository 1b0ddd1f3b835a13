"""`treeroll policies`: what decides about trees, with rules, parameters, defaults, bounds and papers."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from treeroll.policies.registry import ParameterRow, PolicyRow

# A default longer than this leaves no room beside it.
LONG_CHARS = 24

app = typer.Typer(rich_markup_mode="rich", pretty_exceptions_enable=False)


@app.callback(invoke_without_command=True)
def policies(context: typer.Context) -> None:
    """List recipes, policies and scorers; with [bold]show NAME[/bold], the rule and parameters of one.

    A recipe bundles one policy per section. A run may change any parameter, or swap a policy by its name:

      treeroll rollout ... --recipe treepo --set run.branch.sync=path

      treeroll rollout ... --recipe flat --set run.advantage.name=treepo

    [bold]Examples[/bold]

      treeroll policies

      treeroll policies show treepo
    """
    if context.invoked_subcommand is None:
        _print(_everything())


@app.command("show")
def show(name: Annotated[str, typer.Argument(metavar="NAME", help="A recipe, policy or scorer.")]) -> None:
    """Print the rule of a policy, its parameters with defaults and bounds, and its source.

    A name of several things shows all of them, the recipe first. What the source leaves open and we
    chose is marked "Ours".

    [bold]Examples[/bold]

      treeroll policies show treepo

      treeroll policies show finish_tests
    """
    from treeroll.errors import InvalidInput

    found = list(_about(name))
    if not found:
        raise InvalidInput(f"there is no recipe, policy or scorer '{name}'; `treeroll policies` lists them")
    _print(found)


def _print(parts: list[Any]) -> None:
    from treeroll.cli.console import out

    console = out()
    for index, part in enumerate(parts):
        if index:
            console.print()
        console.print(part)


def _everything() -> list[Any]:
    from treeroll.cli.console import table
    from treeroll.policies.predict import registry as predictors
    from treeroll.policies.recipes import RECIPES
    from treeroll.policies.registry import describe
    from treeroll.scorers.registry import summaries
    from treeroll.similarity import registry as embedders
    from treeroll.tools import registry as tools

    recipes = [
        (
            r.name,
            r.summary,
            " ".join(f"{s}={getattr(r, s).name}" for s in ("segment", "branch", "prune", "advantage")),
            r.paper,
        )
        for r in RECIPES.values()
    ]
    rows = [(p.kind, p.name, p.summary, p.paper) for p in describe()]
    return [
        table("recipes (--recipe)", ("name", "what", "policies", "paper"), recipes),
        table("policies", ("section", "name", "what", "paper"), rows),
        table("scorers (--scorer)", ("name", "what"), list(summaries().items())),
        table("tools (--set run.segment.tool=...)", ("name", "what"), list(tools.summaries().items())),
        table("embedders (--set run.branch.embedder=...)", ("name", "what"), list(embedders.summaries().items())),
        table(
            "predictors (--set run.allocate.predictor=..., run.route.predictor=...)",
            ("name", "what"),
            list(predictors.summaries().items()),
        ),
    ]


def _about(name: str) -> Iterator[Any]:
    from treeroll.policies.recipes import RECIPES
    from treeroll.policies.registry import describe
    from treeroll.scorers.registry import summaries

    if name in RECIPES:
        yield from _recipe(name)
    for row in describe():
        if row.name == name:
            yield from _policy(row)
    for usage, what in summaries().items():
        if usage.partition("[")[0].partition(":")[0] == name:
            yield from (_heading(f"scorer {name}"), _paragraph(f"{usage}: {what}"))


def _recipe(name: str) -> Iterator[Any]:
    from dataclasses import asdict

    from treeroll.cli.console import table
    from treeroll.cli.recipe_pages import leaves
    from treeroll.policies.recipes import RECIPES

    recipe = RECIPES[name]
    rows = [("limits", "", _settings(asdict(recipe.limits)))]
    if recipe.top_logprobs:
        rows.append(("sampling", "", _settings({"top_logprobs": recipe.top_logprobs})))
    for section in ("segment", "branch", "prune", "advantage"):
        choice = getattr(recipe, section)
        rows.append((section, choice.name, _settings(choice.params)))
    yield _heading(f"recipe {name}")
    yield _paragraph(recipe.summary)
    yield _paragraph(leaves(recipe))
    yield _paragraph(recipe.about)
    yield table("", ("section", "policy", "other than the policy's default"), rows)
    yield _paragraph(f"Source: {recipe.paper}")


def _settings(values: Any) -> str:
    return ", ".join(f"{key}={value}" for key, value in values.items()) or "-"


def _policy(row: "PolicyRow") -> Iterator[Any]:
    yield _heading(f"{row.kind} policy {row.name}")
    yield from map(_paragraph, row.rule)
    yield _parameters(row.parameters) if row.parameters else _paragraph("It has no parameters.")
    if row.explains:
        yield _paragraph("What its decisions say of themselves, with their terms in braces:")
        yield _paragraph("\n".join(f"- {rule}: {said}" for rule, said in row.explains.items()))
    yield _paragraph(f"Source: {row.paper}\nCode: {row.code}")


def _parameters(rows: "tuple[ParameterRow, ...]") -> Any:
    """Names and values are what people copy, so only the last column wraps: long values stand there, first."""
    from treeroll.cli.console import table

    columns = ("parameter", "default", "what it is, type and bounds")
    cells = [(row.name, "" if _is_long(row) else row.default, _meaning(row)) for row in rows]
    grid = table("", columns, cells)
    grid.columns[0].no_wrap = grid.columns[1].no_wrap = True
    return grid


def _is_long(row: "ParameterRow") -> bool:
    return len(row.default) > LONG_CHARS


def _meaning(row: "ParameterRow") -> Any:
    from rich.text import Text

    from treeroll.cli.console import plain

    allowed = ", ".join(part for part in (row.type, row.bounds) if part)
    value = f"{plain(row.default)}\n" if _is_long(row) else ""
    return Text.assemble(value, plain(row.description), "\n", (plain(allowed), "dim"))


def _heading(words: str) -> Any:
    from rich.text import Text

    return Text(words, style="bold underline")


def _paragraph(words: str) -> Any:
    """Policies of other distributions may say anything, so nothing here is markup or moves the cursor."""
    from rich.text import Text

    from treeroll.cli.console import plain

    return Text("\n".join(map(plain, words.splitlines())))
