"""`treeroll dashboard`: pages on a rollout's results."""

from pathlib import Path
from typing import Annotated

import typer


def dashboard(
    directory: Annotated[
        Path | None,
        typer.Option("--from", metavar="DIR", help="A result directory of `treeroll rollout`.", show_default=False),
    ] = None,
    host: Annotated[str, typer.Option(help="Loopback address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on; 0: any free one.")] = 7071,
    no_auth: Annotated[
        bool, typer.Option("--no-auth", help="Ask for no token: whoever is on this machine may read.")
    ] = False,
) -> None:
    """Show runs and trees in a browser, until Ctrl-C.

    Prints the address to open; the token in it is new at every start. It
    only reads, and listens on this machine alone.

    [bold]Example[/bold]

      treeroll dashboard --from runs/one
    """
    from treeroll.dashboard.server import serve
    from treeroll.dashboard.sources.results import ResultSource
    from treeroll.errors import InvalidInput

    if directory is None:
        raise InvalidInput("say what to show: --from a result directory of `treeroll rollout`")
    serve(ResultSource(directory), host, port, auth=not no_auth, ready=_say)


def _say(url: str) -> None:
    print(f"dashboard: {url}", flush=True)
