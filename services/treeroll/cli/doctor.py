"""`treeroll doctor`: what is wrong with a cluster, before a service runs there or while it does."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from treeroll.cli.options import AsJson

if TYPE_CHECKING:
    from treeroll.cli.settings import Sections
    from treeroll.doctor.finding import Finding


def doctor(
    config: Annotated[
        Path | None,
        typer.Option("--config", metavar="FILE", help="The service's settings, as for serve.", show_default=False),
    ] = None,
    sets: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="A.B=C", help="One setting, e.g. generator.slots=64.", show_default=False),
    ] = None,
    address: Annotated[
        str | None,
        typer.Option(
            metavar="HOST:PORT,...",
            help="Where a service must answer, and those that stand by for it.",
            show_default="what the settings say",
        ),
    ] = None,
    ray_address: Annotated[
        str | None,
        typer.Option(metavar="HOST:PORT", help="Ray cluster to look at; auto: that of this host.", show_default=False),
    ] = None,
    store: Annotated[
        str | None, typer.Option(metavar="URL", help="Redis to look at.", show_default="what the settings say")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Check all that a service needs, and say what to mend; exit with 1 if something is wrong.

    Settings, model, Redis, coordinator with certificate and token, ports,
    this host; and of a Ray cluster each node, by a task on it: versions,
    model by digest, the way to the coordinator, clock, room, GPUs. Nothing
    is written. What cannot be looked at from here is said to be not checked.
    Token and roots come from TREEROLL_TOKEN and TREEROLL_CA, Ray's token from
    RAY_AUTH_TOKEN, as for all commands.

    [bold]Examples[/bold]

      treeroll doctor --config service.yaml

      treeroll doctor --config service.yaml --address coordinator:7070 --ray-address head:6379
    """
    import asyncio

    from treeroll.doctor.finding import State

    flags: dict[str, dict[str, Any]] = {"ray": {"address": ray_address}, "store": {"url": store}}
    found = asyncio.run(_shown(_examined(config, sets or [], flags, address), as_json))
    if any(one.state is State.WRONG for one in found):
        raise typer.Exit(1)


async def _shown(findings: "AsyncIterator[Finding]", as_json: bool) -> "list[Finding]":
    """Each as soon as it is there."""
    import json
    from dataclasses import asdict

    from treeroll.cli.console import plain

    found = []
    async for one in findings:
        found.append(one)
        if not as_json:
            print(f"{one.state:<11}  {one.check:<11}  {plain(one.sentence)}", flush=True)
    if as_json:
        print(json.dumps(list(map(asdict, found)), indent=2))
    return found


async def _examined(
    config: Path | None, sets: list[str], flags: dict[str, dict[str, Any]], address: str | None
) -> "AsyncIterator[Finding]":
    from dataclasses import replace

    from treeroll.cli.settings import layered
    from treeroll.doctor.finding import not_checked, ok, wrong
    from treeroll.doctor.table import CHECKS, examine
    from treeroll.errors import TreerollError

    try:
        sections = layered(config, sets, flags)
        ground = _ground(sections, address)
    except TreerollError as error:
        yield replace(wrong(str(error)), check="settings")
        yield replace(not_checked(f"{', '.join(CHECKS)}: for that the settings must be right"), check="all else")
        return
    given = ", ".join(sorted(name for name, content in sections.items() if content)) or "nothing"
    yield replace(ok(f"{config or 'the defaults'}: {given} set, all as serve takes it"), check="settings")
    async for one in examine(ground):
        yield one


def _ground(sections: "Sections", address: str | None) -> Any:
    """What is to be looked at. InvalidInput for settings that a service would not take."""
    from treeroll.access.config import check_host
    from treeroll.channels import Pass
    from treeroll.cli.replica_process import shown_to
    from treeroll.config import RunConfig, TasksConfig, parse
    from treeroll.doctor.ground import Ground
    from treeroll.service import ServiceConfig

    own = dict(sections)
    parse(RunConfig, own.pop("run", {}), "section 'run'")
    parse(TasksConfig, own.pop("tasks", {}), "section 'tasks'")
    config = parse(ServiceConfig, own, "service configuration")
    check_host(config.coordinator.host, config.access)
    port = config.coordinator.port
    addresses = address or (config.coordinator.reached_at(port) if port else "")
    return Ground(config, addresses, address is not None, shown_to(addresses) if addresses else Pass())
