"""`treeroll bench store`."""

from typing import Annotated

import typer

from treeroll.cli.bench.options import JsonOption, RoundsOption


def store(
    nodes: Annotated[int, typer.Option(min=4, help="Nodes per commit: as many as a busy tick has.")] = 256,
    segment_tokens: Annotated[int, typer.Option(min=1, help="Tokens per node.")] = 64,
    durability: Annotated[str, typer.Option(help="everysec or always.")] = "everysec",
    seconds: Annotated[float, typer.Option(min=0.05, help="Length of one round of one variant.")] = 2.0,
    rounds: RoundsOption = 5,
    json_file: JsonOption = None,
) -> None:
    """Nodes a second into Redis: atomic, fenced commits against plain pushes of the same records.

    [bold]commit[/bold] is what the coordinator does once per tick. [bold]push[/bold] is the floor: an RPUSH per record
    from a bare hiredis client, as many per round trip as a commit has nodes, with no script, fence or run record.
    [bold]redis-benchmark[/bold] joins in where it is installed.

    [bold]Examples[/bold]

      treeroll bench store

      treeroll bench store --nodes 64 --durability always
    """
    import asyncio

    from treeroll.bench.store import Load, measure
    from treeroll.cli.bench.options import check_json, show
    from treeroll.cli.console import note
    from treeroll.store.redis_settings import check_durability

    check_json(json_file)
    load = Load(nodes, segment_tokens, check_durability(durability), seconds)
    show(asyncio.run(measure(load, rounds, note)), json_file)
