"""`treeroll bench readers`."""

from typing import Annotated

import typer

from treeroll.cli.bench.options import JsonOption, RoundsOption


def readers(
    leaves: Annotated[int, typer.Option(min=1, help="Leaves of the tree.")] = 4000,
    segments: Annotated[int, typer.Option(min=1, help="Nodes of each of its paths.")] = 23,
    segment_tokens: Annotated[int, typer.Option(min=1, help="Tokens per node.")] = 32,
    rounds: RoundsOption = 3,
    json_file: JsonOption = None,
) -> None:
    """How long calls of others wait while somebody fetches, audits or rewards one large tree.

    One client asks for the service's status over and over, at even distances. [bold]alone[/bold] nobody
    else asks for anything; [bold]fetch[/bold]: another process fetches the tree; [bold]audit[/bold]: it has the
    store audited, which is that tree; [bold]reward[/bold]: it writes a late reward of each
    leaf. Redis is real, and nothing grows.

    [bold]Example[/bold]

      treeroll bench readers --rounds 5
    """
    import asyncio

    from treeroll.bench.finished_trees import TreeShape
    from treeroll.bench.readers import measure
    from treeroll.cli.bench.options import check_json, show
    from treeroll.cli.console import note

    check_json(json_file)
    shape = TreeShape(leaves, segments, segment_tokens)
    show(asyncio.run(measure(shape, rounds, note)), json_file)
