"""`treeroll dashboard`: pages on a service or on a rollout's results."""

import json
import logging
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from treeroll.cli.options import Address, StoreUrl

if TYPE_CHECKING:
    from treeroll.dashboard.sources.live import LiveSource
    from treeroll.dashboard.sources.results import ResultSource


def dashboard(
    directory: Annotated[
        Path | None,
        typer.Option(
            "--from",
            metavar="DIR",
            help="A result directory of `treeroll rollout`, or the file of a tree that was exported.",
            show_default=False,
        ),
    ] = None,
    store: StoreUrl = None,
    address: Address = None,
    simulate: Annotated[
        str | None,
        typer.Option(
            "--simulate",
            metavar="NAME",
            help="A service with a known fault, started here: steady, lagging-replica, crash-loop, redis-down, "
            "budget-end, feed-blocked, stale-weights.",
            show_default=False,
        ),
    ] = None,
    host: Annotated[
        str | None,
        typer.Option(
            help="Interface to listen on; beyond loopback with TLS and tokens (access.*).", show_default="127.0.0.1"
        ),
    ] = None,
    port: Annotated[
        int | None,
        typer.Option(
            min=0, max=65535, help="Port to listen on; 0: any free one.", show_default="7071, or any if that is taken"
        ),
    ] = None,
    no_auth: Annotated[
        bool, typer.Option("--no-auth", help="Ask for no token: whoever is on this machine may read.")
    ] = False,
    config: Annotated[
        Path | None,
        typer.Option(
            "--config",
            metavar="FILE",
            help="The service's settings; store.url and sections dashboard and access are read.",
            show_default=False,
        ),
    ] = None,
    sets: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="A.B=C", help="One setting, e.g. dashboard.port=0.", show_default=False),
    ] = None,
    lifeline: Annotated[
        bool, typer.Option("--lifeline", help="Stop when standard input ends; print the address as JSON.")
    ] = False,
) -> None:
    """Show a service, or a rollout's results, in a browser, until Ctrl-C.

    Prints the address to open; the token in it is new at every start. It
    only reads. Of a service it reads the store, where it stays what it was
    after a crash; [bold]--address[/bold] asks the service once where that is. [bold]treeroll
    serve[/bold] starts one by itself.

    Beyond loopback it wants the TLS and the tokens of section access, as a
    service does: roles viewer and operator may read.

    [bold]Examples[/bold]

      treeroll dashboard --address 127.0.0.1:7070

      treeroll dashboard --store redis://127.0.0.1:6379/0

      treeroll dashboard --from runs/demo

      treeroll dashboard --simulate lagging-replica     # to learn it

      treeroll dashboard --config service.yaml --host 0.0.0.0
    """
    from treeroll.access.config import AccessConfig, check_host
    from treeroll.cli.settings import layered
    from treeroll.config import DashboardConfig, StoreConfig, parse
    from treeroll.dashboard.server import serve
    from treeroll.errors import InvalidInput

    sections = layered(config, sets or [], {"dashboard": {"host": host, "port": port}})
    if directory is None and address is None and store is None and simulate is None:
        store = parse(StoreConfig, sections.get("store", {}), "section 'store'").url
    if sum(shown is not None for shown in (directory, store, address, simulate)) != 1:
        raise InvalidInput("say what to show: one of --from DIR, --store URL, --address HOST:PORT and --simulate NAME")
    place = parse(DashboardConfig, sections.get("dashboard", {}), "section 'dashboard'")
    access = parse(AccessConfig, sections.get("access", {}), "section 'access'")
    check_host(place.host, access, "dashboard.host")
    with _source(directory, store, address, simulate) as source:
        ready = _say_as_json if lifeline else _say
        serve(source, place, access, auth=not no_auth, lifeline=lifeline, ready=ready)


@contextmanager
def _source(
    directory: Path | None, store: str | None, address: str | None, simulate: str | None
) -> "Iterator[ResultSource | LiveSource]":
    """What is to be shown."""
    from treeroll.cli.watching import store_url
    from treeroll.dashboard.sources.live import LiveSource
    from treeroll.dashboard.sources.results import ResultSource
    from treeroll.results.exported import opened

    if directory is not None:
        with opened(directory) as place:
            yield ResultSource(place, str(directory))
        return
    with ExitStack() as stack:
        if simulate is None:
            source = LiveSource(store_url(address or "", store))
        else:
            from treeroll.scenarios.running import named, running_scenario

            logging.disable(logging.WARNING)  # what the play says of its own trouble is on the pages
            scenario = named(simulate)
            source = LiveSource(stack.enter_context(running_scenario(scenario)), scenario.name, scenario.lesson)
        stack.callback(source.close)
        yield source


def _say(url: str) -> None:
    print(f"dashboard: {url}", flush=True)


def _say_as_json(url: str) -> None:
    print(json.dumps({"address": url}), flush=True)
