"""`treeroll bench feed`."""

from typing import Annotated

import typer

from treeroll.cli.bench.options import JsonOption, RoundsOption


def feed(
    trees: Annotated[int, typer.Option(min=1, help="Finished trees in the store, all delivered once a round.")] = 1536,
    batch_trees: Annotated[int, typer.Option(min=1, help="Trees per batch.")] = 32,
    leaves: Annotated[int, typer.Option(min=1, help="Samples per tree.")] = 16,
    segments: Annotated[int, typer.Option(min=1, help="Segments per sample.")] = 8,
    segment_tokens: Annotated[int, typer.Option(min=1, help="Tokens per segment.")] = 128,
    rounds: RoundsOption = 5,
    json_file: JsonOption = None,
) -> None:
    """Samples a second to one local trainer through the client API, against the same bytes without it.

    [bold]client[/bold] leases batches with prefetch=True (not the default), reads ids, logprobs and
    advantages of every sample and acknowledges, in another process than the service. [bold]bare[/bold]
    is the floor: pipelined Redis reads of the same records in that process, and one gRPC stream of
    their bytes to the same trainer process, which only counts them.

    [bold]Examples[/bold]

      treeroll bench feed

      treeroll bench feed --leaves 64 --segments 14 --segment-tokens 512 --trees 64 --batch-trees 4
    """
    import asyncio

    from treeroll.bench.feed import measure
    from treeroll.bench.finished_trees import TreeShape
    from treeroll.cli.bench.options import check_json, show
    from treeroll.cli.console import note

    check_json(json_file)
    shape = TreeShape(leaves, segments, segment_tokens)
    trees += -trees % batch_trees
    show(asyncio.run(measure(shape, trees, batch_trees, rounds, note)), json_file)
