"""`treeroll bench claims`."""

from typing import Annotated

import typer

from treeroll.cli.bench.options import JsonOption


def claims(
    only: Annotated[
        str | None, typer.Option(metavar="A,B,...", help="Only these claims.", show_default="all of them")
    ] = None,
    seeds: Annotated[int, typer.Option(min=1, help="Seeds; every claim is measured for each.")] = 3,
    slots: Annotated[int, typer.Option(min=1, help="Requests decoded at a time.")] = 128,
    json_file: JsonOption = None,
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
    from treeroll.cli.bench.options import check_json, show
    from treeroll.cli.bench.running import unless_interrupted
    from treeroll.cli.console import note
    from treeroll.demo import TASKS_FILE
    from treeroll.tasks import read_tasks

    check_json(json_file)
    # Budgets are spent on purpose: tasks that get nothing any more are no news.
    logging.getLogger("treeroll.client.stream").setLevel(logging.ERROR)
    selected = chosen(only)
    service = {"generator": {"slots": slots, "kv_cache_gib": 0.5}}
    tasks = list(read_tasks(TASKS_FILE))
    show(asyncio.run(unless_interrupted(measure(selected, tasks, seeds, service, note))), json_file)
