"""`treeroll serve`: the service, until a signal."""

from pathlib import Path
from typing import Annotated, Literal

import typer


def serve(
    config: Annotated[
        Path | None,
        typer.Option(
            "--config",
            metavar="FILE",
            help="YAML, TOML or JSON with sections generator, ray, coordinator, store, scorers, access, dashboard.",
            show_default=False,
        ),
    ] = None,
    sets: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="A.B=C", help="One setting, e.g. generator.slots=64.", show_default=False),
    ] = None,
    host: Annotated[
        str | None,
        typer.Option(
            help="Interface to listen on; beyond loopback with TLS and tokens (access.*).", show_default="127.0.0.1"
        ),
    ] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on; 0: any free one.", show_default="7070")] = None,
    model: Annotated[
        Path | None, typer.Option(metavar="PATH", help="Model directory.", show_default="the demo model")
    ] = None,
    engine: Annotated[
        Literal["vllm", "simulated", "none"] | None,
        typer.Option(help="What generates; none: replicas come by themselves.", show_default="vllm"),
    ] = None,
    replicas: Annotated[int | None, typer.Option(metavar="N", help="Engines to run.", show_default="1")] = None,
    ray_address: Annotated[
        str | None,
        typer.Option(
            metavar="HOST:PORT",
            help="Ray cluster for the replicas; auto: the one of RAY_ADDRESS or of this host; local: a private one.",
            show_default="a private Ray",
        ),
    ] = None,
    store: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            help="redis://, rediss://, unix://, file:PATH that has one, memory.",
            show_default="an embedded Redis",
        ),
    ] = None,
    durability: Annotated[
        Literal["everysec", "always"] | None,
        typer.Option(help="What a power failure may cost: a second, or nothing.", show_default="everysec"),
    ] = None,
    standby: Annotated[
        bool, typer.Option("--standby", help="Serve when the owner of --store has fallen silent.")
    ] = False,
    lifeline: Annotated[
        bool, typer.Option("--lifeline", help="Stop when standard input ends; print the address as JSON.")
    ] = False,
) -> None:
    """Run the service: Redis, coordinator, Ray with engine replicas, scorers.

    It runs until Ctrl-C or SIGTERM and then takes everything down. Trainers
    connect with treeroll.connect("127.0.0.1:7070"), rollouts with --address.
    A dashboard runs beside it, as a process of its own; its address is
    printed. --set dashboard.port=off leaves it out.

    [bold]Examples[/bold]

      treeroll serve --model models/qwen --replicas 4

      treeroll serve --config service.yaml --set generator.slots=128

      treeroll serve --engine simulated --port 0

      treeroll serve --config service.yaml --port 7170 --standby

      treeroll serve --engine none      # and `treeroll replica` elsewhere
    """
    from treeroll.cli.serving import run_service
    from treeroll.cli.settings import layered

    flags: dict[str, dict[str, object]] = {
        "coordinator": {"host": host, "port": port, "standby": standby or None},
        "generator": {"model": str(model) if model else None, "engine": engine, "replicas": replicas},
        "ray": {"address": ray_address},
        "store": {"url": store, "durability": durability},
    }
    run_service(layered(config, sets or [], flags), lifeline=lifeline)
