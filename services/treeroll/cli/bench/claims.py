"""`treeroll bench claims`."""

from pathlib import Path
from typing import Annotated

import typer

from treeroll.cli.bench.options import JsonOption


def claims(
    only: Annotated[
        str | None, typer.Option(metavar="A,B,...", help="Only these claims.", show_default="all of them")
    ] = None,
    seeds: Annotated[int, typer.Option(min=1, help="Seeds; every claim is measured for each.")] = 3,
    slots: Annotated[int, typer.Option(min=1, help="Requests decoded at a time.")] = 128,
    tasks: Annotated[int | None, typer.Option(min=8, help="Use the first N tasks.", show_default="all")] = None,
    engine: Annotated[
        str, typer.Option(help="vllm, or simulated: to try this command, its figures mean nothing.")
    ] = "vllm",
    json_file: JsonOption = None,
    plots: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Write a PNG per claim; needs treeroll[plots].")
    ] = None,
) -> None:
    """What papers claim of their algorithms, beside what the demo model shows of it on this machine.

    Each row names the claim and its conditions, what was measured here, and whether it holds here. The
    demo model is small and its answers short, so a claim may fail here and be true elsewhere: the table
    says what differs.

    [bold]Examples[/bold]

      treeroll bench claims                        about half an hour

      treeroll bench claims --only headline
    """
    import asyncio
    import logging

    from treeroll.bench.claims.bench import chosen, measure
    from treeroll.bench.claims.plots import check_matplotlib, draw
    from treeroll.cli.bench.options import check_json, show
    from treeroll.cli.bench.running import unless_interrupted
    from treeroll.cli.console import note
    from treeroll.demo import TASKS_FILE
    from treeroll.tasks import read_tasks

    check_json(json_file)
    if plots is not None:
        check_matplotlib()
    # Budgets are spent on purpose: tasks that get nothing any more are no news.
    logging.getLogger("treeroll.client.stream").setLevel(logging.ERROR)
    selected = chosen(only)
    generator = {"slots": slots, "kv_cache_gib": 0.5, "engine": engine}
    known = list(read_tasks(TASKS_FILE))[:tasks]
    result = asyncio.run(unless_interrupted(measure(selected, known, seeds, generator, note)))
    show(result, json_file)
    if plots is not None:
        for path in draw([(claim, result.rounds[claim.name]) for claim in selected], plots):
            note(f"drew {path}")
