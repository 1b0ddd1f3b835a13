"""`treeroll bench coordinator`."""

from typing import Annotated

import typer

from treeroll.cli.bench.options import JsonOption, RoundsOption


def coordinator(
    nodes: Annotated[str, typer.Option(help="Live nodes, one point each, e.g. 1000,10000,100000,1000000.")] = "10000",
    replicas: Annotated[str, typer.Option(help="Simulated replicas, one point each, e.g. 1,10,100,1000.")] = "4",
    durability: Annotated[str, typer.Option(help="everysec, always, or both: everysec,always.")] = "everysec,always",
    secured: Annotated[bool, typer.Option(help="With TLS and tokens, as beyond loopback.")] = False,
    rewrite: Annotated[bool, typer.Option(help="Measure also while Redis rewrites its append-only file.")] = False,
    segment_tokens: Annotated[int, typer.Option(min=32, help="Tokens per segment; a multiple of 32.")] = 64,
    depth: Annotated[int, typer.Option(min=1, help="Segments on a path.")] = 14,
    report_segments: Annotated[int, typer.Option(min=1, help="Most segments in one report, at saturation.")] = 128,
    rate: Annotated[float | None, typer.Option(help="Segments/s when paced; default: half of saturation.")] = None,
    seconds: Annotated[float, typer.Option(min=0.1, help="Length of one window.")] = 4.0,
    events_mb: Annotated[
        int, typer.Option(min=0, help="Megabytes of decisions that the store keeps; 0: none are written.")
    ] = 64,
    traced: Annotated[
        float, typer.Option(min=0.0, max=1.0, help="Share of trees that are traced, to a collector; 0: none is.")
    ] = 0.0,
    rounds: RoundsOption = 5,
    json_file: JsonOption = None,
) -> None:
    """Segments a second through one coordinator, with real gRPC, real Redis and simulated replicas.

    Replicas are processes that speak the replica protocol and generate nothing, so all the load is the
    coordinator's. It has a core of its own; Redis and the replicas share the others. Each point starts
    everything anew, fills up to its live nodes, and is measured twice: with two reports of each replica
    on their way (saturation), and at half that rate at even distances (latency).

    [bold]Examples[/bold]

      treeroll bench coordinator --rounds 5

      treeroll bench coordinator --nodes 1000,10000,100000,1000000 --durability everysec

      treeroll bench coordinator --nodes 100000 --replicas 1,10,100,1000 --durability everysec
    """
    import asyncio

    from treeroll.bench.coordinator import Workload, measure, points
    from treeroll.cli.bench.options import check_json, show
    from treeroll.cli.console import note

    check_json(json_file)
    work = Workload(
        segment_tokens=segment_tokens,
        max_depth=depth,
        report_segments=report_segments,
        seconds=seconds,
        rate=rate,
        rewrite=rewrite,
        secured=secured,
        events_mb=events_mb,
        traced=traced,
    )
    show(asyncio.run(measure(points(nodes, replicas, durability), work, rounds, note)), json_file)
