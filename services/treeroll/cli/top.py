"""`treeroll top`: a service as it says itself that it is, worst first."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from treeroll.cli.options import DEFAULT_ADDRESS, AsJson, ServiceAddress, StoreUrl

if TYPE_CHECKING:
    from rich.console import Group

    from treeroll.watch.verdict import Finding
    from treeroll.watch.view import View


def top(
    address: ServiceAddress = DEFAULT_ADDRESS,
    store: StoreUrl = None,
    once: Annotated[bool, typer.Option("--once", help="Show it once, and end.")] = False,
    as_json: AsJson = False,
) -> None:
    """Watch a service: what is wrong above lists of its replicas, runs, trees, feed and events.

    Keys choose a list, sort and filter it, and open a row; ? names them.

    It reads what the service writes to its store once a second, and asks the service
    itself only where that store is. With [bold]--store[/bold] it does not even ask: it shows the
    last news of one that is dead, and how old they are.

    [bold]Examples[/bold]

      treeroll top --address 127.0.0.1:7070

      treeroll top --once --store redis://127.0.0.1:6379/0
    """
    from treeroll.cli.console import out
    from treeroll.cli.watching import store_url, view_of

    url = store_url(address, store)
    if as_json:
        print(_json(view_of(url)))
    elif once:
        out().print(screen(view_of(url)))
    else:
        from treeroll.cli.top_app import Top
        from treeroll.dashboard.sources.live import LiveSource

        source = LiveSource(url)
        try:
            Top(source).run()
        finally:
            source.close()


def screen(view: "View") -> "Group":
    """All of it, for 80 columns."""
    from rich.console import Group

    from treeroll.cli.top_tables import groups, head, pools, replicas, runs, work
    from treeroll.watch.verdict import verdict

    found: list[Finding | None] = [*verdict(view)]
    parts: list[Any] = [head(view), *map(_line, found or [None])]
    if (last := view.latest) is not None:
        parts += [work(view), pools(last)]
        parts += [replicas(last)] if last.replicas else []
        parts += [runs(last)] if last.runs else []
        parts += [groups(last)] if last.groups else []
    return Group(*parts)


def _line(finding: "Finding | None") -> Any:
    from rich.text import Text

    from treeroll.cli.console import plain

    if finding is None:
        return Text("all well", style="green")
    style = {"page": "bold red", "warn": "yellow"}.get(finding.severity, "")
    return Text(f"{finding.severity.upper()}: {plain(finding.sentence)}", style=style)


def _json(view: "View") -> str:
    import json

    from google.protobuf.json_format import MessageToDict

    from treeroll.watch.verdict import verdict

    findings = [
        {"rule": one.rule, "severity": one.severity.value, "sentence": one.sentence, "page": one.page}
        for one in verdict(view)
    ]
    latest = MessageToDict(view.latest, preserving_proto_field_name=True) if view.latest is not None else None
    age_s = view.age_s if view.latest is not None else None
    return json.dumps({"verdict": findings, "age_s": age_s, "snapshot": latest}, indent=2)
