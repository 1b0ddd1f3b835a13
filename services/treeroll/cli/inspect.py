"""`treeroll inspect`: draw one tree."""

from typing import Annotated

import typer

from treeroll.cli.options import Address, FromDir


def inspect(
    tree_id: Annotated[
        str | None,
        typer.Argument(
            metavar="[TREE_ID]",
            help="Tree id, its beginning, or a task id. Without it, with --from: a tree with better and worse leaves.",
            show_default=False,
        ),
    ] = None,
    address: Address = None,
    directory: FromDir = None,
    full: Annotated[bool, typer.Option("--full", help="Show whole texts.")] = False,
) -> None:
    """Draw one tree in the terminal, leaves coloured by reward.

    Each line is a stretch without forks: its path, tokens, mean logprob and text.

    [bold]Examples[/bold]

      treeroll inspect --from runs/one

      treeroll inspect arith-017 --from runs/one --full

      treeroll inspect 3f9a04c1b27d5e68 --address 127.0.0.1:7070
    """
    from treeroll.cli import drawing, trees
    from treeroll.cli.console import out
    from treeroll.errors import InvalidInput
    from treeroll.results.reader import ResultReader

    if (address is None) == (directory is None):
        raise InvalidInput("give either --address of a service or --from a result directory")
    if directory is not None:
        view = trees.from_results(ResultReader.existing(directory), tree_id)
    elif address is not None and tree_id is not None:
        view = trees.from_service(address, tree_id)
    else:
        raise InvalidInput("name a tree: with --address there is no telling which one is meant")
    out().print(drawing.draw(view, full=full))
