"""`treeroll bench policies`."""

from typing import Annotated

import typer

from treeroll.cli.bench.options import JsonOption, RoundsOption


def policies(
    variants: Annotated[
        str | None, typer.Option(metavar="A,B,...", help="Branch policies.", show_default="all of them")
    ] = None,
    trees: Annotated[int, typer.Option(min=1, help="Trees to grow.")] = 100,
    leaves: Annotated[int, typer.Option(min=1, help="Leaves of a tree; some policies only grow 64 here.")] = 64,
    segment_tokens: Annotated[int, typer.Option(min=1, help="Tokens per segment, of about 3 characters each.")] = 32,
    rounds: RoundsOption = 3,
    json_file: JsonOption = None,
) -> None:
    """Microseconds a branch policy takes per event, in trees of 64 leaves or as many as you say.

    The real core grows the same trees in a simulated world, one by one and all side by side, and
    every call of the policy is timed: a node came, or nothing runs. The mean is over all calls, p99
    and slowest are of single calls (a whole round of fallbacks, say) side by side. A decision must
    not be more work because of other trees: lines are the lines of Python that it runs, in a run of
    their own. Where their ratio is 1 and that of time is more, caches are colder, and that is all.

    Policies that wait for whole levels decide them in one call, so those calls are the slowest. The
    last example has 256 paths wait with 1,000 characters more each time, which dora and ets compare.

    [bold]Examples[/bold]

      treeroll bench policies

      treeroll bench policies --variants treepo,spo --trees 1000

      treeroll bench policies --variants dora,ets --leaves 256 --segment-tokens 352 --trees 3
    """
    import asyncio

    from treeroll.bench.policies import limits_of, measure
    from treeroll.cli.bench.options import check_json, show
    from treeroll.cli.console import note
    from treeroll.coordinator.gc_tuning import tune_gc
    from treeroll.policies.registry import POLICIES

    check_json(json_file)
    names = variants.split(",") if variants else [policy.name for policy in POLICIES["branch"]]
    tune_gc()
    show(asyncio.run(measure(names, limits_of(leaves, segment_tokens), trees, rounds, note)), json_file)
