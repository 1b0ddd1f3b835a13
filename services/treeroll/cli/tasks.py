"""`treeroll tasks`: task files from other projects' data sets."""

from pathlib import Path
from typing import Annotated, Any

import typer

app = typer.Typer(rich_markup_mode="rich", pretty_exceptions_enable=False, no_args_is_help=True)


@app.callback()
def tasks() -> None:
    """Write task files from the data sets of other projects."""


@app.command("from")
def from_source(
    source: Annotated[str, typer.Argument(metavar="SOURCE", help="reasoning_gym:DATASET or verifiers:TASKSET.")],
    count: Annotated[
        int | None, typer.Option("--count", min=1, help="How many tasks; all, of a taskset that ends.")
    ] = (None),
    seed: Annotated[
        int | None,
        typer.Option("--seed", help="Which items (reasoning_gym, default 0), or in which order (verifiers)."),
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="A parameter of the data set itself, its value as JSON."),
    ] = None,
    chat: Annotated[
        bool, typer.Option("--chat", help="reasoning_gym: chat messages, with the library's own system prompt.")
    ] = False,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", metavar="FILE", help="Where to; standard output unless given.")
    ] = None,
) -> None:
    """Write tasks from a data set of reasoning-gym, or a taskset of verifiers.

    The tasks name the item they were made of, so that the scorer of the same
    name can score their answers: [bold]--scorer reasoning_gym[/bold], or
    [bold]--scorer verifiers:TASKSET[/bold].

    [bold]Examples[/bold]

      treeroll tasks from reasoning_gym:chain_sum --count 1000 -o tasks.jsonl

      treeroll tasks from verifiers:my-taskset --count 100 -o tasks.jsonl
    """
    from treeroll.cli.console import counted, plain
    from treeroll.integrations.sources import line_of, rows_from, write_tasks

    options: dict[str, Any] = {"params": _params(settings or [])}
    if seed is not None:
        options["seed"] = seed
    if chat:
        options["chat"] = True
    rows = rows_from(source, count, **options)
    if out is None:
        for row in rows:
            typer.echo(line_of(row), nl=False)
    else:
        typer.echo(f"{counted(write_tasks(out, rows), 'task')} in {plain(str(out))}")


def _params(settings: list[str]) -> dict[str, Any]:
    import json

    from treeroll.errors import InvalidInput

    params: dict[str, Any] = {}
    for setting in settings:
        key, equals, value = setting.partition("=")
        if not (key and equals):
            raise InvalidInput(f"--set takes KEY=VALUE, got '{setting}'")
        try:
            params[key] = json.loads(value)
        except ValueError:
            params[key] = value  # text needs no quotes
    return params
