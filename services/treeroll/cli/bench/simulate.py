"""`treeroll bench simulate`."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from treeroll.cli.bench.options import JsonOption, RoundsOption

# Of lockstep's batch: the best of 1 to 16 at 16 slots. Smaller ones idle at barriers, larger ones lose their prefixes.
LEAVES_PER_SLOT = 7
TREES, CLUSTER, ENGINE, ELASTIC = "Trees", "Cluster", "Step model", "Elastic fleet"


def simulate(
    trees: Annotated[
        int | None,
        typer.Option(min=20, help="Trees to grow.", rich_help_panel=TREES, show_default="from --segments"),
    ] = None,
    segments: Annotated[
        int, typer.Option(min=1000, help="About so many segments to simulate.", rich_help_panel=TREES)
    ] = 2_000_000,
    prompt_tokens: Annotated[
        int, typer.Option(min=2, help="Mean length of prompts; +-50 %.", rich_help_panel=TREES)
    ] = 400,
    leaves: Annotated[int, typer.Option(min=1, help="Samples per tree.", rich_help_panel=TREES)] = 16,
    segment_tokens: Annotated[int, typer.Option(min=1, help="Tokens per segment.", rich_help_panel=TREES)] = 512,
    max_depth: Annotated[int, typer.Option(min=1, help="Most segments per sample.", rich_help_panel=TREES)] = 14,
    median_tokens: Annotated[
        float, typer.Option(min=1, help="Median length of completions.", rich_help_panel=TREES)
    ] = 1500,
    sigma: Annotated[
        float, typer.Option(min=0.01, help="Deviation of the logarithm of lengths.", rich_help_panel=TREES)
    ] = 1.0,
    sync: Annotated[
        Literal["level", "path"], typer.Option(help="When treepo splits.", rich_help_panel=TREES)
    ] = "level",
    replicas: Annotated[int, typer.Option(min=1, help="GPUs.", rich_help_panel=CLUSTER)] = 1000,
    slots: Annotated[
        int, typer.Option(min=1, help="Requests that each decodes at once.", rich_help_panel=CLUSTER)
    ] = 16,
    kv_tokens: Annotated[
        int | None,
        typer.Option(min=1, help="KV cache of each.", rich_help_panel=CLUSTER, show_default="as --slots need"),
    ] = None,
    round_trips: Annotated[
        str, typer.Option(metavar="MS,...", help="Round trips to the coordinator.", rich_help_panel=CLUSTER)
    ] = "1,10,100",
    commit_ms: Annotated[
        float, typer.Option(min=0.01, help="The store's answer, per tick.", rich_help_panel=CLUSTER)
    ] = 1.0,
    segment_us: Annotated[
        float, typer.Option(min=0, help="The coordinator's work per segment.", rich_help_panel=CLUSTER)
    ] = 25.0,
    batch_trees: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Trees that lockstep advances together on a GPU.",
            rich_help_panel=CLUSTER,
            show_default="7 leaves per slot",
        ),
    ] = None,
    ahead: Annotated[
        int,
        typer.Option(min=0, help="Branches granted beyond the slots, to wait on the GPU.", rich_help_panel=CLUSTER),
    ] = 0,
    fit: Annotated[
        str | None,
        typer.Option(
            metavar="PATH|NAME",
            help="Use the times of vLLM here, measured with this model: a directory, demo, tiny, 25m, 0.5b or 7b.",
            rich_help_panel=ENGINE,
            show_default="an assumed GPU",
        ),
    ] = None,
    step_ms: Annotated[float, typer.Option(min=0.001, help="A decode step up to --knee.", rich_help_panel=ENGINE)] = 10,
    knee: Annotated[
        int, typer.Option(min=1, help="Batch above which a step costs in proportion.", rich_help_panel=ENGINE)
    ] = 64,
    prefill_us: Annotated[
        float, typer.Option(min=0, help="A prefix token that is not cached.", rich_help_panel=ENGINE)
    ] = 30,
    scale: Annotated[
        str | None,
        typer.Option(
            metavar="N,N,...",
            help="Replicas come and go: demand for so many, one after the other, and the law of autoscaling.",
            rich_help_panel=ELASTIC,
            show_default=False,
        ),
    ] = None,
    phase_minutes: Annotated[
        float, typer.Option(min=1, help="For how long each of these.", rich_help_panel=ELASTIC)
    ] = 30,
    spot_percent: Annotated[
        float, typer.Option(min=0, max=100, help="Replicas taken away per hour.", rich_help_panel=ELASTIC)
    ] = 5,
    start_s: Annotated[
        float, typer.Option(min=0, help="What a replica takes to start; +-20 %.", rich_help_panel=ELASTIC)
    ] = 60,
    step: Annotated[
        int | None,
        typer.Option(min=1, help="As generator.autoscale.step.", rich_help_panel=ELASTIC, show_default="none"),
    ] = None,
    plot: Annotated[
        Path | None, typer.Option(metavar="PNG", help="Draw the course.", rich_help_panel=ELASTIC, show_default=False)
    ] = None,
    variants: Annotated[
        str | None, typer.Option(metavar="A,B,...", help="Only these variants.", show_default="all")
    ] = None,
    rounds: RoundsOption = 1,
    json_file: JsonOption = None,
) -> None:
    """A thousand GPUs in virtual time: how busy treeroll's decisions keep them.

    The coordinator's real core decides; GPUs, network and lengths are simulated. Nothing sleeps.

    [bold]tree[/bold]             branches decode through segment boundaries; forks go where their prefix is
    [bold]least_loaded[/bold]     the same, but forks go to whoever is free first
    [bold]round_robin[/bold]      the same, but forks go to each GPU in turn
    [bold]segments[/bold]         each segment is a new request, after a round trip to the coordinator
    [bold]lockstep[/bold]         a GPU's trees all advance by a segment, then wait for the slowest (TreePO's way)
    [bold]lockstep-refill[/bold]  the same, but a finished tree's place is taken at once

    With --scale the fleet follows demand instead, against one that is as large as ever needed all the time; replicas
    start, drain, and are taken away without a word.

    Without --fit the times of a step are an assumption, about a 7B model on one data-centre GPU.
    Rounds differ in their seed.

    [bold]Examples[/bold]

      treeroll bench simulate --variants tree,lockstep --round-trips 10

      treeroll bench simulate --segments 10000000 --variants tree --round-trips 10     about ten minutes

      treeroll bench simulate --fit 7b --slots 128     on a machine with a GPU

      treeroll bench simulate --scale 100,1000,100 --slots 4 --leaves 4 --plot elastic.png
    """
    import asyncio
    from dataclasses import replace

    from treeroll.autoscale.terms import Terms
    from treeroll.bench.elastic import ElasticBench
    from treeroll.bench.simulate import SCHEDULES, SimulateBench
    from treeroll.cli.bench.options import check_json, show
    from treeroll.cli.bench.running import unless_interrupted
    from treeroll.cli.console import note
    from treeroll.errors import InvalidInput
    from treeroll.policy.base import Limits
    from treeroll.simulation.cluster import Cluster
    from treeroll.simulation.lengths import LogNormal
    from treeroll.simulation.step_model import gpu_like
    from treeroll.simulation.virtual_coordinator import Latency
    from treeroll.simulation.virtual_core import Workload
    from treeroll.simulation.virtual_fleet import Market

    check_json(json_file)
    round_trips_s = _milliseconds(round_trips)
    steps = gpu_like(step_ms / 1e3, knee, prefill_us / 1e6)
    if fit is not None:
        from treeroll.bench.simulate_fit import fit_vllm

        steps = asyncio.run(unless_interrupted(fit_vllm(fit, slots, note)))
    limits = Limits(leaves, segment_tokens, max_depth, segment_tokens * max_depth)
    workload = Workload(0, limits, prompt_tokens, LogNormal(median_tokens, sigma), sync)
    latency = Latency(round_trips_s[0] if scale else 0.0, commit_ms / 1e3, segment_us / 1e6)
    batch = batch_trees or max(1, LEAVES_PER_SLOT * slots // leaves)
    cluster = Cluster(replicas, slots, kv_tokens or slots * workload.longest, steps, latency, batch, ahead)
    if scale is not None:
        if trees is not None or variants is not None:
            raise InvalidInput(
                "--scale says how many trees grow, and has variants of its own: leave out --trees, --variants"
            )
        sizes = _sizes(scale)
        market, cluster = Market(start_s, spot_percent / 100), replace(cluster, replicas=max(sizes))
        terms = Terms(min(sizes), max(sizes), step, slots=slots)
        elastic = ElasticBench(cluster, workload, market, sizes, phase_minutes * 60, terms, plot)
        show(asyncio.run(unless_interrupted(elastic.run(rounds, note))), json_file)
        return
    if plot is not None:
        raise InvalidInput("--plot draws the course of an elastic fleet: give --scale")
    chosen = variants.split(",") if variants else list(SCHEDULES)
    bench = SimulateBench(cluster, workload, round_trips_s, segments, trees, chosen, fit is not None)
    show(asyncio.run(unless_interrupted(bench.run(rounds, note))), json_file)


def _milliseconds(listed: str) -> list[float]:
    """Seconds, from "1,10,100"."""
    from treeroll.errors import InvalidInput

    try:
        found = [float(part) / 1e3 for part in listed.split(",")]
    except ValueError:
        found = []
    if not found or min(found) < 0:
        raise InvalidInput(f"--round-trips {listed}: give milliseconds, such as 1,10,100")
    return found


def _sizes(listed: str) -> list[int]:
    """From "100,1000,100"."""
    from treeroll.errors import InvalidInput

    try:
        return [int(part) for part in listed.split(",")]
    except ValueError:
        raise InvalidInput(f"--scale {listed}: give numbers of replicas, such as 100,1000,100") from None
