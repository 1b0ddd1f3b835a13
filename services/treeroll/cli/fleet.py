"""`treeroll fleet`: replicas of a service on Ray, as a process of its own."""

from pathlib import Path
from typing import Annotated, Literal

import typer


def fleet(
    address: Annotated[
        str, typer.Option(metavar="HOST:PORT,...", help="Of the service, and of those that stand by for it.")
    ] = "127.0.0.1:7070",
    ray_address: Annotated[
        str | None,
        typer.Option(
            metavar="HOST:PORT",
            help="Ray cluster to join; auto: the one of RAY_ADDRESS or of this host; local: a private one.",
            show_default="a private Ray",
        ),
    ] = None,
    name: Annotated[
        str,
        typer.Option(metavar="NAME", help="What its replicas' names begin with, where a service has several fleets."),
    ] = "",
    config: Annotated[
        Path | None,
        typer.Option(
            "--config",
            metavar="FILE",
            help="The service's settings; sections generator and ray are read.",
            show_default=False,
        ),
    ] = None,
    sets: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="A.B=C", help="One setting, e.g. generator.slots=64.", show_default=False),
    ] = None,
    model: Annotated[
        Path | None, typer.Option(metavar="PATH", help="Model directory.", show_default="the demo model")
    ] = None,
    engine: Annotated[
        Literal["vllm", "simulated"] | None, typer.Option(help="What generates.", show_default="vllm")
    ] = None,
    replicas: Annotated[int | None, typer.Option(metavar="N", help="Engines to run.", show_default="1")] = None,
) -> None:
    """Keep replicas alive on Ray, for a service elsewhere.

    The service it works for is started with --engine none. A Ray driver runs
    on a host with a Ray node only: one of the cluster, or one that was added
    with `ray start --address=HEAD:6379 --num-cpus=0`; or this is a Ray job.
    Every node needs treeroll, and the model under the same path. Settings
    are those of the service's file. Where the service wants a token,
    TREEROLL_TOKEN has it (role replica, for all that the fleet starts), and
    TREEROLL_CA names the file of roots that its TLS is known by, on every
    node. The Ray cluster's own token is in RAY_AUTH_TOKEN.

    [bold]Examples[/bold]

      treeroll fleet --address coordinator:7070 --ray-address head:6379 --config service.yaml

      treeroll fleet --address a:7070,b:7070 --ray-address auto --replicas 16 --name east
    """
    from treeroll.cli.fleet_process import run
    from treeroll.cli.settings import layered

    flags: dict[str, dict[str, object]] = {
        "generator": {"model": str(model) if model else None, "engine": engine, "replicas": replicas},
        "ray": {"address": ray_address},
    }
    run(layered(config, sets or [], flags), address, name)
