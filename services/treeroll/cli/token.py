"""`treeroll token`: the tokens by which a service knows its callers."""

from pathlib import Path
from typing import Annotated, Literal

import typer

app = typer.Typer(rich_markup_mode="rich", pretty_exceptions_enable=False, no_args_is_help=True)

File = Annotated[
    Path, typer.Option("--tokens", metavar="FILE", help="The service's access.tokens.", show_default=False)
]


@app.callback()
def token() -> None:
    """Make, list and revoke tokens. A running service takes changes up at once."""


@app.command("make")
def make(
    role: Annotated[Literal["client", "viewer", "operator", "replica"], typer.Argument(help="What it may do.")],
    name: Annotated[str, typer.Argument(metavar="NAME", help="Whose it is: runs belong to the name.")],
    tokens: File,
    expires: Annotated[
        str | None, typer.Option("--expires", metavar="DAY", help="2031-12-31, UTC.", show_default="never")
    ] = None,
    runs: Annotated[
        str | None, typer.Option("--runs", metavar="PREFIX", help="Only runs whose ids begin so.", show_default=False)
    ] = None,
    replicas: Annotated[
        str | None,
        typer.Option("--replicas", metavar="PREFIX", help="Also replicas whose ids begin so.", show_default=False),
    ] = None,
    publish: Annotated[bool, typer.Option("--publish", help="A client that may publish weights.")] = False,
) -> None:
    """Make a token and print it: it is shown this once, the file holds its hash.

    [bold]Examples[/bold]

      treeroll token make client alice --tokens tokens --runs alice- --publish

      treeroll token make operator ops --tokens tokens --expires 2031-12-31

      treeroll token make replica fleet-b --tokens tokens --replicas b-
    """
    from treeroll.access.token_file import add, moment, new_token, parse_line, sha256
    from treeroll.cli.console import note

    secret = new_token()
    line = parse_line(
        [
            role,
            name,
            sha256(secret),
            *([expires] if expires and moment(expires) else []),
            *[f"runs={runs}"] * (runs is not None),
            *[f"replicas={replicas}"] * (replicas is not None),
            *["publish"] * publish,
        ]
    )
    add(tokens, line)
    note(f"token {line.token_id} of '{name}', {role}, is in {tokens}; this is its only copy:")
    typer.echo(secret)


@app.command("list")
def list_tokens(tokens: File) -> None:
    """List the tokens of a file."""
    from treeroll import clock
    from treeroll.access.token_file import read, written
    from treeroll.cli.console import note, out, table

    found, broken = read(tokens)
    rows = [
        (
            line.token_id,
            line.identity.role.value,
            line.identity.name,
            line.identity.runs or "all",
            f"{line.identity.replicas}..." if line.identity.replicas else "",
            "yes" if line.identity.publish else "",
            "never" if line.expires is None else written(line.expires) + " gone" * (clock.wall() >= line.expires),
        )
        for line in found
    ]
    out().print(table("", ("token", "role", "name", "runs", "replicas", "publishes", "expires"), rows))
    for bad in broken:
        note(f"line {bad.number} is no token and lets nobody in: {bad.why}")


@app.command("revoke")
def revoke(
    which: Annotated[
        str, typer.Argument(metavar="TOKEN_OR_NAME", help="A token as `list` shows it, or all of a name.")
    ],
    tokens: File,
) -> None:
    """Remove tokens: calls that begin from now on are refused, those under way end."""
    from treeroll.access.token_file import remove

    count = remove(tokens, which)
    typer.echo(f"revoked {count} token{'' if count == 1 else 's'}")
