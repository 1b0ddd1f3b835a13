"""`treeroll bench placement`."""

from typing import Annotated, Literal

import typer

from treeroll.cli.bench.options import JsonOption, RoundsOption

TREES, ENGINE = "Trees", "Engine"


def placement(
    workload: Annotated[
        Literal["even", "skewed"],
        typer.Option(help="skewed: the first tree of each round is huge.", rich_help_panel=TREES),
    ] = "even",
    prompts: Annotated[int, typer.Option(min=1, help="Prompts per round.", rich_help_panel=TREES)] = 12,
    prompt_tokens: Annotated[
        int, typer.Option(min=2, help="Their mean length, in tokens; +-25 %.", rich_help_panel=TREES)
    ] = 200,
    leaves: Annotated[int, typer.Option(min=1, help="Samples per prompt.", rich_help_panel=TREES)] = 8,
    huge_leaves: Annotated[int, typer.Option(min=1, help="Samples of the huge tree.", rich_help_panel=TREES)] = 64,
    segment_tokens: Annotated[int, typer.Option(min=1, help="Tokens per segment.", rich_help_panel=TREES)] = 32,
    max_depth: Annotated[int, typer.Option(min=1, help="Segments per sample.", rich_help_panel=TREES)] = 8,
    replicas: Annotated[int, typer.Option(min=2, help="Engines per service.", rich_help_panel=ENGINE)] = 2,
    model: Annotated[
        str,
        typer.Option(
            metavar="PATH|NAME",
            help="Model directory, demo, or tiny, 25m, 0.5b or 7b: a Qwen2 of that size with random weights.",
            rich_help_panel=ENGINE,
        ),
    ] = "demo",
    slots: Annotated[int, typer.Option(min=1, help="Requests decoded at a time.", rich_help_panel=ENGINE)] = 16,
    blocks: Annotated[
        int | None,
        typer.Option(min=2, help="KV blocks per replica.", rich_help_panel=ENGINE, show_default="a quarter GiB"),
    ] = None,
    variants: Annotated[
        str, typer.Option(metavar="A,B,...", help="Placement policies.")
    ] = "parent_affinity,least_loaded,round_robin",
    rounds: RoundsOption = 5,
    json_file: JsonOption = None,
) -> None:
    """Placement policies side by side: prefixes recomputed, balance and speed.

    Every policy has a service of its own, all running at once, so this needs memory for
    policies x replicas engines. Forks want to be where their prefix is cached, and engines
    want to be busy: with --workload skewed one tree alone could fill several of them.

    [bold]Examples[/bold]

      treeroll bench placement

      treeroll bench placement --workload skewed --slots 16
    """
    import asyncio
    import tempfile
    from pathlib import Path

    from treeroll.bench.models import context_of, find_model
    from treeroll.bench.placement import PlacementBench
    from treeroll.bench.prompts import Workload
    from treeroll.bench.raw_engine import default_block_size
    from treeroll.cli.bench.options import check_json, show
    from treeroll.cli.bench.running import unless_interrupted
    from treeroll.cli.console import note
    from treeroll.generator.config import GeneratorConfig
    from treeroll.policy.base import Limits
    from treeroll.tokenizer import Tokenizer

    check_json(json_file)
    parameters = {
        "workload": workload,
        "prompts": prompts,
        "prompt_tokens": prompt_tokens,
        "leaves": leaves,
        "huge_leaves": huge_leaves,
        "segment_tokens": segment_tokens,
        "max_depth": max_depth,
        "replicas": replicas,
        "model": model,
        "slots": slots,
        "blocks": blocks,
    }
    block_size = default_block_size()
    with tempfile.TemporaryDirectory(prefix="treeroll-model-") as folder:
        found = find_model(model, Path(folder), context_of(blocks, block_size))
        generator = GeneratorConfig(
            model=found.path,
            load_format=found.load_format,
            replicas=replicas,
            slots=slots,
            block_size=block_size,
            kv_cache_gib=0.25,
            kv_blocks=blocks,
        )
        limits = Limits(leaves, segment_tokens, max_depth, segment_tokens * max_depth)
        trees = Workload("fixed", prompts, prompt_tokens, limits, Tokenizer.load(found.path), block_size)
        bench = PlacementBench(trees, generator, workload, huge_leaves, variants.split(","), parameters)
        show(asyncio.run(unless_interrupted(bench.run(rounds, note))), json_file)
