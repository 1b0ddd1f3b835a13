"""`treeroll bench allocators`."""

from typing import Annotated

import typer

from treeroll.cli.bench.options import JsonOption, RoundsOption


def allocators(
    variants: Annotated[
        str | None, typer.Option(metavar="A,B,...", help="Allocators.", show_default="all of them")
    ] = None,
    tasks: Annotated[int, typer.Option(min=1, help="Tasks that share 16 leaves each.")] = 1000,
    rounds: RoundsOption = 5,
    json_file: JsonOption = None,
) -> None:
    """Milliseconds an allocator takes to share leaves out over tasks.

    Those that are asked when tasks arrive answer once for all of them; the others are asked once for
    each tree that starts, so their total is over as many calls. Before they are asked all learn of
    256 trees that ended, as some of their work is done then.

    [bold]Examples[/bold]

      treeroll bench allocators

      treeroll bench allocators --variants knapsack --tasks 10000
    """
    import asyncio

    from treeroll.bench.allocators import measure
    from treeroll.cli.bench.options import check_json, show
    from treeroll.cli.console import note
    from treeroll.coordinator.gc_tuning import tune_gc
    from treeroll.policies.registry import POLICIES

    check_json(json_file)
    names = variants.split(",") if variants else [policy.name for policy in POLICIES["allocate"]]
    tune_gc()
    show(asyncio.run(measure(names, tasks, rounds, note)), json_file)
