"""`treeroll bench learning`."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer


class Measure(StrEnum):
    """What is measured."""

    NOISE = "noise"
    CURVES = "curves"
    CLOSED_FORM = "closed_form"


class FamilyName(StrEnum):
    """Whose tasks and model."""

    SUBSET_SUM = "subset_sum"
    DEMO = "demo"


def learning(
    measure: Annotated[Measure, typer.Argument(help="What to measure, see above.")],
    family: Annotated[FamilyName, typer.Option(help="The tasks and the model.")] = FamilyName.SUBSET_SUM,
    only: Annotated[
        str | None,
        typer.Option(metavar="'A;B;...'", help="Only these arms, beside flat samples.", show_default="all of them"),
    ] = None,
    seeds: Annotated[
        int | None, typer.Option(min=1, help="Rounds, each with its seed.", show_default="8 of noise, 3 of curves")
    ] = None,
    tasks: Annotated[int, typer.Option(min=2, help="noise: tasks whose gradients are compared.")] = 15,
    reference: Annotated[
        int, typer.Option(min=16, help="noise: samples of a task in each half of the reference.")
    ] = 128,
    steps: Annotated[int, typer.Option(min=1, help="curves: steps of a training.")] = 24,
    step_tokens: Annotated[int, typer.Option(min=100, help="curves: engine tokens of a step.")] = 20_000,
    step_length: Annotated[float, typer.Option(min=0.0001, help="curves: length of a step in weight space.")] = 0.03,
    look_every: Annotated[int, typer.Option(min=1, help="curves: steps between evaluations.")] = 8,
    held_out: Annotated[int, typer.Option(min=2, help="curves: tasks of an evaluation.")] = 80,
    samples: Annotated[int, typer.Option(min=1, help="curves: samples of each of them.")] = 8,
    threads: Annotated[int, typer.Option(min=1, help="Threads that torch computes with.")] = 2,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", help="Write JSON there, and a PNG if treeroll[plots] is installed.", show_default=False
        ),
    ] = None,
) -> None:
    """What trees are worth to a policy gradient, and what a model learns from them, flat samples the baseline.

    Needs torch and safetensors. Trees are grown by a service in this process, whose engine samples from
    the network that is trained, in float32; gradients are real ones, of the whole network.

      [bold]noise[/bold]        noise tokens: engine tokens until the squared cosine with the true gradient is 1/2

      [bold]curves[/bold]       reward of held-out tasks while a model is trained, per engine token and second

      [bold]closed_form[/bold]  what shapes are worth where tokens have equal, orthogonal scores: no model, seconds

    [bold]Examples[/bold]

      treeroll bench learning closed_form

      treeroll bench learning noise --family demo --seeds 8

      treeroll bench learning curves --only "4 x 4 at 3/4" --out docs/results
    """
    import asyncio

    import torch

    from treeroll.bench.learning import closed_form, curves, noise_bench, plots
    from treeroll.bench.learning.families import FAMILIES, chosen
    from treeroll.bench.result import Result
    from treeroll.cli.bench.options import show
    from treeroll.cli.bench.running import unless_interrupted
    from treeroll.cli.console import note

    torch.set_num_threads(threads)
    what = measure.value if measure is Measure.CLOSED_FORM else f"{measure.value}-{family.value}"
    json_file = out / f"learning-{what}.json" if out is not None else None
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
    which = FAMILIES[family.value]
    arms = chosen(which, only)
    result: Result
    if measure is Measure.CLOSED_FORM:
        result = closed_form.measure()
    elif measure is Measure.NOISE:
        measuring = noise_bench.measure(which, arms, tasks, seeds or 8, reference, note)
        result = asyncio.run(unless_interrupted(measuring))
    else:
        plan = curves.Plan(steps, step_tokens, step_length, look_every, held_out, samples)
        result = asyncio.run(unless_interrupted(curves.measure(which, arms, plan, seeds or 3, note)))
    if json_file is not None and plots.draw(result, picture := json_file.with_suffix(".png")):
        note(f"drew {picture}")
    show(result, json_file)
