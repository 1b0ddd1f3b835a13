"""`treeroll dashboard`: pages on a service or on a rollout's results."""

from pathlib import Path
from typing import Annotated

import typer

from treeroll.cli.options import Address, StoreUrl


def dashboard(
    directory: Annotated[
        Path | None,
        typer.Option("--from", metavar="DIR", help="A result directory of `treeroll rollout`.", show_default=False),
    ] = None,
    store: StoreUrl = None,
    address: Address = None,
    host: Annotated[str, typer.Option(help="Loopback address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on; 0: any free one.")] = 7071,
    no_auth: Annotated[
        bool, typer.Option("--no-auth", help="Ask for no token: whoever is on this machine may read.")
    ] = False,
) -> None:
    """Show a service, or a rollout's results, in a browser, until Ctrl-C.

    Prints the address to open; the token in it is new at every start. It
    only reads, and listens on this machine alone. Of a service it reads the
    store, where it stays what it was after a crash; [bold]--address[/bold] asks the service
    once where that is.

    [bold]Examples[/bold]

      treeroll dashboard --address 127.0.0.1:7070

      treeroll dashboard --store redis://127.0.0.1:6379/0

      treeroll dashboard --from runs/one
    """
    from treeroll.dashboard.server import serve
    from treeroll.dashboard.sources.live import LiveSource
    from treeroll.dashboard.sources.results import ResultSource
    from treeroll.errors import InvalidInput

    if sum(place is not None for place in (directory, store, address)) != 1:
        raise InvalidInput("say what to show: one of --from DIR, --store URL and --address HOST:PORT")
    if directory is not None:
        serve(ResultSource(directory), host, port, auth=not no_auth, ready=_say)
        return
    from treeroll.cli.watching import store_url

    source = LiveSource(store_url(address or "", store))
    try:
        serve(source, host, port, auth=not no_auth, ready=_say)
    finally:
        source.close()


def _say(url: str) -> None:
    print(f"dashboard: {url}", flush=True)
