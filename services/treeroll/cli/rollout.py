"""`treeroll rollout`: grow one tree per task and write samples, nodes and a summary."""

from pathlib import Path
from typing import Annotated, Literal

import typer

TREES, SERVICE, OUTPUT = "Trees", "Service (without --address one is started here)", "Tasks and output"


def rollout(
    tasks: Annotated[
        list[str],
        typer.Argument(
            metavar="TASKS", help="JSONL or Parquet, one task per row: files, folders, globs.", show_default=False
        ),
    ],
    out: Annotated[
        Path, typer.Option("--out", metavar="DIR", help="Where results go.", rich_help_panel=OUTPUT, show_default=False)
    ],
    recipe: Annotated[
        str | None,
        typer.Option(help="Bundle of policies: see `treeroll policies`.", rich_help_panel=TREES, show_default="treepo"),
    ] = None,
    scorer: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="math, math:boxed, exact, arith, regex:PATTERN, python:module:function, http://...; none: no rewards.",
            rich_help_panel=TREES,
            show_default=False,
        ),
    ] = None,
    leaves: Annotated[
        int | None,
        typer.Option(metavar="N", help="Leaves per tree.", rich_help_panel=TREES, show_default="the recipe's"),
    ] = None,
    segment_tokens: Annotated[
        int | None,
        typer.Option(metavar="L", help="Tokens per segment.", rich_help_panel=TREES, show_default="the recipe's"),
    ] = None,
    max_depth: Annotated[
        int | None,
        typer.Option(metavar="D", help="Most segments on a path.", rich_help_panel=TREES, show_default="the recipe's"),
    ] = None,
    max_tokens: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            help="Most completion tokens on a path.",
            rich_help_panel=TREES,
            show_default="L x D or the recipe's",
        ),
    ] = None,
    temperature: Annotated[
        float | None, typer.Option(metavar="T", rich_help_panel=TREES, show_default="1.0", help="Sampling temperature.")
    ] = None,
    top_p: Annotated[
        float | None, typer.Option(metavar="P", rich_help_panel=TREES, show_default="1.0", help="Nucleus sampling.")
    ] = None,
    seed: Annotated[
        int | None,
        typer.Option(metavar="S", help="Fixes every policy decision.", rich_help_panel=TREES, show_default="0"),
    ] = None,
    budget_tokens: Annotated[
        int | None,
        typer.Option(
            metavar="N", help="Tokens all trees together may cost.", rich_help_panel=TREES, show_default="no limit"
        ),
    ] = None,
    address: Annotated[
        str | None,
        typer.Option(metavar="HOST:PORT", help="Use a running service.", rich_help_panel=SERVICE, show_default=False),
    ] = None,
    model: Annotated[
        Path | None,
        typer.Option(metavar="PATH", help="Model directory.", rich_help_panel=SERVICE, show_default="the demo model"),
    ] = None,
    engine: Annotated[
        Literal["vllm", "simulated"] | None,
        typer.Option(help="What generates.", rich_help_panel=SERVICE, show_default="vllm"),
    ] = None,
    replicas: Annotated[
        int | None, typer.Option(metavar="R", help="Engines to run.", rich_help_panel=SERVICE, show_default="1")
    ] = None,
    prompt_field: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Field with the prompt, as text or chat messages.",
            rich_help_panel=OUTPUT,
            show_default="prompt, messages or prompt_ids",
        ),
    ] = None,
    answer_field: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Field with the answer, e.g. reward_model.ground_truth.",
            rich_help_panel=OUTPUT,
            show_default="answer",
        ),
    ] = None,
    id_field: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Field with the task's id, e.g. extra_info.index.",
            rich_help_panel=OUTPUT,
            show_default="id, else the line",
        ),
    ] = None,
    limit: Annotated[
        int | None,
        typer.Option(metavar="N", help="Only the first N good tasks.", rich_help_panel=OUTPUT, show_default=False),
    ] = None,
    skip_invalid: Annotated[
        bool, typer.Option("--skip-invalid", help="Leave out bad tasks, naming each.", rich_help_panel=OUTPUT)
    ] = False,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with what DIR holds.", rich_help_panel=OUTPUT)
    ] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace what DIR holds.", rich_help_panel=OUTPUT)
    ] = False,
    config: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="YAML, TOML or JSON; sections run, generator, coordinator, store, scorers, tasks. Flags win.",
            show_default=False,
        ),
    ] = None,
    sets: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="A.B=C", help="One setting, e.g. run.branch.sync=path.", show_default=False),
    ] = None,
) -> None:
    """Grow one tree per task; write samples, nodes and trees.parquet, and summary.json.

    Without [bold]--address[/bold] everything needed (Redis, Ray, engine replicas) is started
    on this machine and stopped at the end. Trees are written as they finish, to
    DIR/parts. Ctrl-C once stops cleanly and keeps what is complete, twice stops
    at once; [bold]--resume[/bold] goes on in every case.

    [bold]Examples[/bold]

      treeroll rollout tasks.jsonl --out runs/one --scorer math

      treeroll rollout tasks.jsonl --out runs/flat --recipe flat --replicas 2

      treeroll rollout data/train-*.parquet --out runs/two --answer-field solution

      treeroll rollout tasks.jsonl --out runs/three --address 127.0.0.1:7070

    A task has an id, one of prompt, messages and prompt_ids, and an answer if
    its scorer needs one; all else is kept.
    """
    import asyncio

    from treeroll.cli.console import note
    from treeroll.cli.job import execute
    from treeroll.cli.preflight import Request, make_plan
    from treeroll.cli.settings import rollout_settings
    from treeroll.errors import InvalidInput
    from treeroll.results.directory import Mode

    if resume and overwrite:
        raise InvalidInput("--resume and --overwrite contradict each other; give one of them")
    run = {
        "recipe": recipe,
        "scorer": scorer,
        "leaves": leaves,
        "segment_tokens": segment_tokens,
        "max_depth": max_depth,
        "max_tokens": max_tokens,
        "temperature": temperature,
        "top_p": top_p,
        "seed": seed,
        "budget_tokens": budget_tokens,
    }
    generator = {"model": str(model) if model else None, "engine": engine, "replicas": replicas}
    fields = {"prompt": prompt_field, "answer": answer_field, "id": id_field}
    settings = rollout_settings(config, sets or [], {"run": run, "generator": generator, "tasks": fields})
    request = Request(
        tasks=tasks[0] if len(tasks) == 1 else tasks,
        out=out,
        mode=Mode.RESUME if resume else Mode.OVERWRITE if overwrite else Mode.REFUSE,
        address=address,
        limit=limit,
        skip_invalid=skip_invalid,
        settings=settings,
        service_flags=tuple(f"--{name}" for name, value in generator.items() if value is not None),
    )
    plan = make_plan(request)
    if settings.run.scorer is None:
        note("no scorer: rewards and advantages will be null; give --scorer to have them")
    raise typer.Exit(asyncio.run(execute(plan)))
