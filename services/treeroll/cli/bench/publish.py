"""`treeroll bench publish`."""

from typing import Annotated

import typer

from treeroll.cli.bench.options import JsonOption


def publish(
    updates: Annotated[int, typer.Option(min=1, help="Versions to publish, over all rules.")] = 50,
    rules: Annotated[str, typer.Option(help="What growing trees do, in turn: values of on_update.")] = (
        "continue,recompute,stop,finish_first"
    ),
    replicas: Annotated[int, typer.Option(min=1, help="Replicas of the demo model.")] = 2,
    step: Annotated[float, typer.Option(min=0.0, help="Standard deviation of an update of each weight.")] = 0.001,
    kill: Annotated[bool, typer.Option(help="Kill a replica's process in the middle of the second rule.")] = True,
    json_file: JsonOption = None,
) -> None:
    """Seconds until every replica has new weights, while they decode; and whether tokens say the truth.

    Each row is a rule of [bold]on_update[/bold]. All tokens of all trees are then compared with
    transformers, in float32, at the version that their nodes name.

    [bold]Examples[/bold]

      treeroll bench publish

      treeroll bench publish --updates 6 --rules continue,stop --no-kill
    """
    import asyncio

    from treeroll.bench.publish import RULES, PublishBench
    from treeroll.cli.bench.options import check_json, show
    from treeroll.cli.bench.running import unless_interrupted
    from treeroll.cli.console import note
    from treeroll.errors import InvalidInput

    check_json(json_file)
    chosen = rules.split(",")
    if unknown := set(chosen) - set(RULES):
        raise InvalidInput(f"--rules names {sorted(unknown)[0]!r}, which is none of {', '.join(RULES)}")
    parameters = {"updates": updates, "rules": chosen, "replicas": replicas, "step": step, "kill": kill}
    bench = PublishBench(updates, chosen, replicas, step, kill, parameters)
    show(asyncio.run(unless_interrupted(bench.run(note))), json_file)
