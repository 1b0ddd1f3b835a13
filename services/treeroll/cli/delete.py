"""`treeroll delete`: remove a run from a service."""

from typing import Annotated

import typer

from treeroll.cli.options import DEFAULT_ADDRESS, ServiceAddress


def delete(
    run_id: Annotated[str, typer.Argument(metavar="RUN", help="Its id, as `treeroll status` shows it.")],
    address: ServiceAddress = DEFAULT_ADDRESS,
) -> None:
    """Remove a run that has ended, with all that the service stores of it: trees, rewards, tasks and history.

    What no trainer has taken goes too. Trees that every group has
    acknowledged go by themselves: see store.keep_acknowledged_s.

    [bold]Example[/bold]

      treeroll delete math-7b --address 127.0.0.1:7070
    """
    from treeroll.cli.console import counted, plain
    from treeroll.cli.reach import reach

    with reach(address) as client:
        tasks = client.delete_run(run_id)
    typer.echo(f"run {plain(run_id)} is deleted, with {counted(tasks, 'task')}")
