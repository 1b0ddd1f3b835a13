"""`treeroll fleet`: replicas of a service on Ray, as a process of its own; others in their place, more or fewer."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from treeroll.cli.options import DEFAULT_ADDRESS, ServiceAddress

app = typer.Typer(rich_markup_mode="rich")

Within = Annotated[
    float,
    typer.Option("--within", metavar="SECONDS", help="What ends may run on for so long; then others go on with it."),
]
Force = Annotated[bool, typer.Option("--force", help="Also if the trees that grow have to wait for another replica.")]
DRAIN_S = 600.0


@app.command("drain")
def drain(
    targets: Annotated[
        list[str], typer.Argument(metavar="REPLICA|NODE...", help="Replicas, or hosts with all of theirs.")
    ],
    address: ServiceAddress = DEFAULT_ADDRESS,
    within: Within = DRAIN_S,
    force: Force = False,
) -> None:
    """End replicas in order; their fleet starts others in their place.

    They get no more work, and leave when what they run has ended or their
    time is over; no tree is lost. Successors of a host's replicas start on
    other hosts. To have fewer replicas, use [bold]treeroll fleet scale[/bold].

    [bold]Examples[/bold]

      treeroll fleet drain r3

      treeroll fleet drain node-17 --within 120
    """
    from treeroll.cli.reach import reach

    with reach(address) as client:
        draining, unkept = client.drain_replicas(*targets, within_s=within, force=force)
    print(f"draining: {', '.join(draining) or 'none that is here still'}")
    if unkept:
        print(f"no fleet starts others in place of {', '.join(unkept)}")


@app.command("scale")
def scale(
    what: Annotated[list[str], typer.Argument(metavar="[POOL] N", help="The pool, where there are several; how many.")],
    address: ServiceAddress = DEFAULT_ADDRESS,
    fleet: Annotated[
        str | None,
        typer.Option("--fleet", metavar="NAME", help="Whose replicas.", show_default="the only fleet that has any"),
    ] = None,
    within: Within = DRAIN_S,
    force: Force = False,
) -> None:
    """Have another number of a pool's replicas, until the fleet starts again.

    Those that are too many end in order, the ones with the fewest tokens of
    running branches first; no tree is lost.

    [bold]Examples[/bold]

      treeroll fleet scale 8

      treeroll fleet scale large 4 --fleet east
    """
    from treeroll.cli.reach import reach
    from treeroll.errors import InvalidInput

    if len(what) > 2 or not what[-1].isdecimal():
        raise InvalidInput(f"how many replicas of which pool: [POOL] N, not {' '.join(what)!r}")
    pool, wanted = (what[0] if len(what) == 2 else ""), int(what[-1])
    with reach(address) as client:
        before = client.scale(wanted, pool=pool, fleet=fleet, within_s=within, force=force)
    print(f"{pool or 'the pool'} is to have {wanted} replicas, {before} before: treeroll status shows them")


@app.callback(invoke_without_command=True)
def fleet(
    context: typer.Context,
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
    if context.invoked_subcommand is not None:
        return
    from treeroll.cli.fleet_process import run
    from treeroll.cli.settings import layered

    flags: dict[str, dict[str, object]] = {
        "generator": {"model": str(model) if model else None, "engine": engine, "replicas": replicas},
        "ray": {"address": ray_address},
    }
    run(layered(config, sets or [], flags), address, name)
