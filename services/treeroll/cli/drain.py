"""`treeroll drain` and `undrain`: let a service finish what it has begun, and let it go on."""

import typer

from treeroll.cli.options import DEFAULT_ADDRESS, ServiceAddress


def drain(address: ServiceAddress = DEFAULT_ADDRESS) -> None:
    """Admit no new trees and finish the growing ones; replicas then go idle.

    After that the service can be stopped without losing a tree. New tasks
    are refused; waiting ones stay waiting, and trainers are told so.
    treeroll undrain takes it back.

    [bold]Example[/bold]

      treeroll drain --address 127.0.0.1:7070
    """
    from treeroll.cli.reach import reach

    with reach(address) as client:
        status = client.drain()
    growing, waiting = status.live_trees, status.waiting_tasks
    typer.echo(f"draining: {growing} trees are finishing, {waiting} tasks wait until `treeroll undrain`")


def undrain(address: ServiceAddress = DEFAULT_ADDRESS) -> None:
    """Take a drain back: waiting tasks are grown, and new ones accepted.

    [bold]Example[/bold]

      treeroll undrain --address 127.0.0.1:7070
    """
    from treeroll.cli.reach import reach

    with reach(address) as client:
        status = client.undrain()
    typer.echo(f"not draining: {status.live_trees} trees grow, {status.waiting_tasks} tasks wait for a place")
