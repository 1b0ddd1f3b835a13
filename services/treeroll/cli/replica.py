"""`treeroll replica`: one replica of a service, as a process of its own."""

from pathlib import Path
from typing import Annotated, Literal

import typer


def replica(
    address: Annotated[
        str, typer.Option(metavar="HOST:PORT,...", help="Of the service, and of those that stand by for it.")
    ] = "127.0.0.1:7070",
    name: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="One of its own in the service.", show_default="the name of this host"),
    ] = None,
    pool: Annotated[
        str, typer.Option(metavar="NAME", help="Whose replica it is, where the service has several models.")
    ] = "",
    config: Annotated[
        Path | None,
        typer.Option(
            "--config", metavar="FILE", help="The service's settings; section generator is read.", show_default=False
        ),
    ] = None,
    sets: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="A.B=C", help="One setting, e.g. generator.slots=64.", show_default=False),
    ] = None,
    model: Annotated[
        Path | None, typer.Option(metavar="PATH", help="Model directory.", show_default="the demo model")
    ] = None,
    engine: Annotated[
        Literal["vllm", "simulated"] | None, typer.Option(help="What generates.", show_default="vllm")
    ] = None,
    ready_file: Annotated[
        Path | None,
        typer.Option("--ready-file", metavar="FILE", help="Made when it has joined, for probes.", show_default=False),
    ] = None,
) -> None:
    """Run one replica without Ray: for Slurm, a StatefulSet, or a bare host.

    The service it works for is started with --engine none. The replica finds
    it again when it restarts or moves to another of the addresses, and ends
    at Ctrl-C or SIGTERM; what it was decoding is then decoded elsewhere.
    Settings are those of the service's file: model, context and tokenizer
    must be the service's. Where the service wants a token, TREEROLL_TOKEN
    has it, and TREEROLL_CA names the file of roots that its TLS is known by.

    Several on one host need names of their own, and on a CPU cores of their
    own (taskset): each takes all that it may.

    [bold]Examples[/bold]

      treeroll replica --address coordinator:7070 --model /models/qwen

      CUDA_VISIBLE_DEVICES=1 treeroll replica --address a:7070,b:7070 --name $(hostname)-1 --config service.yaml
    """
    from treeroll.cli.replica_process import run
    from treeroll.cli.settings import layered

    flags: dict[str, dict[str, object]] = {"generator": {"model": str(model) if model else None, "engine": engine}}
    run(layered(config, sets or [], flags), address, name, pool, ready_file)
