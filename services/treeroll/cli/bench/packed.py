"""`treeroll bench packed`."""

from typing import Annotated, Literal

import typer

from treeroll.cli.bench.options import JsonOption, RoundsOption

TREES, STEP = "Trees", "Step"


def packed(
    recipe: Annotated[str, typer.Option(help="How trees grow.", rich_help_panel=TREES)] = "treepo",
    tasks: Annotated[int, typer.Option(min=1, help="Trees in a step.", rich_help_panel=TREES)] = 4,
    leaves: Annotated[int, typer.Option(min=2, help="Samples of a tree.", rich_help_panel=TREES)] = 32,
    segment_tokens: Annotated[int, typer.Option(min=1, help="Tokens per segment.", rich_help_panel=TREES)] = 32,
    max_depth: Annotated[int, typer.Option(min=1, help="Segments per sample.", rich_help_panel=TREES)] = 8,
    model: Annotated[
        str,
        typer.Option(
            metavar="PATH|NAME",
            help="Model directory, demo, or tiny, 25m, 0.5b or 7b: a Qwen2 of that size with random weights.",
            rich_help_panel=STEP,
        ),
    ] = "demo",
    device: Annotated[Literal["cpu", "cuda"], typer.Option(help="Where the model is.", rich_help_panel=STEP)] = "cpu",
    dtype: Annotated[
        Literal["float32", "bfloat16"], typer.Option(help="Its numbers.", rich_help_panel=STEP)
    ] = "float32",
    micro_batch: Annotated[
        int, typer.Option(min=1, help="Padded samples in a forward pass.", rich_help_panel=STEP)
    ] = 8,
    variants: Annotated[
        str,
        typer.Option(metavar="A,B,...", help="Of padded, segments, segments-one-row, dense, flex, flex-one-row."),
    ] = "padded,segments,dense",
    rounds: RoundsOption = 5,
    json_file: JsonOption = None,
) -> None:
    """A training step on packed rows beside one on padded samples: time, and tokens forwarded.

    The same trees each round, from a service over the simulated engine: their shape is the
    recipe's, their text is chance. Padded samples go in micro-batches as long as their longest;
    packed trees a row each, or all in one. Gradients are compared before anything is measured.
    flex needs a GPU. Needs the extras service and torch.

    [bold]Examples[/bold]

      treeroll bench packed

      treeroll bench packed --model 0.5b --device cuda --dtype bfloat16 --variants padded,segments,flex
    """
    import asyncio
    import tempfile
    from pathlib import Path

    from treeroll.bench.models import find_model
    from treeroll.bench.packed import PackedBench, check_variants, grown, load
    from treeroll.cli.bench.options import check_json, show
    from treeroll.cli.console import note

    names = variants.split(",")
    check_json(json_file)
    check_variants(names, device)
    parameters = {
        "recipe": recipe,
        "tasks": tasks,
        "leaves": leaves,
        "segment_tokens": segment_tokens,
        "max_depth": max_depth,
        "model": model,
        "device": device,
        "dtype": dtype,
        "micro_batch": micro_batch,
    }
    with tempfile.TemporaryDirectory(prefix="treeroll-model-") as folder:
        loaded = load(find_model(model, Path(folder)), dtype, device)
    samples = grown(recipe, tasks, leaves, segment_tokens, max_depth)
    bench = PackedBench(samples, loaded, micro_batch, parameters)
    show(asyncio.run(bench.run(names, rounds, note)), json_file)
