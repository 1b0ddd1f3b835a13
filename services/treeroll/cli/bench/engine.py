"""`treeroll bench engine`."""

from typing import Annotated, Literal

import typer

from treeroll.cli.bench.options import JsonOption, RoundsOption

TREES, ENGINE = "Trees", "Engine"


def engine(
    prompts: Annotated[int, typer.Option(min=1, help="Prompts per round.", rich_help_panel=TREES)] = 8,
    prompt_tokens: Annotated[
        int, typer.Option(min=2, help="Their mean length, in tokens; +-25 %.", rich_help_panel=TREES)
    ] = 100,
    leaves: Annotated[int, typer.Option(min=1, help="Samples per prompt.", rich_help_panel=TREES)] = 16,
    segment_tokens: Annotated[int, typer.Option(min=1, help="Tokens per segment.", rich_help_panel=TREES)] = 64,
    max_depth: Annotated[int, typer.Option(min=1, help="Segments per sample.", rich_help_panel=TREES)] = 8,
    workload: Annotated[
        Literal["fixed", "tasks"],
        typer.Option(
            help="fixed: random prompts, all samples equally long; tasks: the demo tasks, samples end by themselves.",
            rich_help_panel=TREES,
        ),
    ] = "fixed",
    model: Annotated[
        str,
        typer.Option(
            metavar="PATH|NAME",
            help="Model directory, demo, or tiny, 25m, 0.5b or 7b: a Qwen2 of that size with random weights.",
            rich_help_panel=ENGINE,
        ),
    ] = "25m",
    slots: Annotated[int, typer.Option(min=1, help="Requests decoded at a time.", rich_help_panel=ENGINE)] = 256,
    blocks: Annotated[
        int | None,
        typer.Option(min=2, help="KV blocks.", rich_help_panel=ENGINE, show_default="as many as fit"),
    ] = None,
    variants: Annotated[
        str | None, typer.Option(metavar="A,B,...", help="Only these variants.", show_default="all")
    ] = None,
    rounds: RoundsOption = 5,
    json_file: JsonOption = None,
) -> None:
    """Trees through treeroll, beside the same vLLM without it.

    [bold]flat[/bold]          independent samples, vLLM in this process
    [bold]flat-service[/bold]  independent samples through treeroll
    [bold]lockstep[/bold]      trees; all advance one segment, then wait for the slowest (TreePO's way)
    [bold]segments[/bold]      trees; nobody waits, each segment is a new request
    [bold]tree[/bold]          trees through treeroll; branches decode through segment boundaries

    All trees fork alike. lockstep and segments also run -unaligned, as published.

    [bold]Examples[/bold]

      treeroll bench engine

      treeroll bench engine --slots 32 --blocks 512     slots and KV are scarce

      treeroll bench engine --workload tasks --model demo --max-depth 4 --segment-tokens 32

      treeroll bench engine --model 7b --prompt-tokens 1000 --segment-tokens 512 --slots 128     needs a GPU
    """
    import asyncio
    import tempfile
    from pathlib import Path

    from treeroll.bench.engine import VARIANTS, EngineBench
    from treeroll.bench.models import context_of, find_model
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
        "prompts": prompts,
        "prompt_tokens": prompt_tokens,
        "leaves": leaves,
        "segment_tokens": segment_tokens,
        "max_depth": max_depth,
        "workload": workload,
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
            slots=slots,
            block_size=block_size,
            kv_blocks=blocks,
        )
        limits = Limits(leaves, segment_tokens, max_depth, segment_tokens * max_depth)
        tokenizer = Tokenizer.load(found.path)
        work = Workload(workload, prompts, prompt_tokens, limits, tokenizer, block_size)
        chosen = variants.split(",") if variants else VARIANTS
        bench = EngineBench(work, generator, chosen, parameters)
        show(asyncio.run(unless_interrupted(bench.run(rounds, note))), json_file)
