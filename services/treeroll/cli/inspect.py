"""`treeroll inspect`: draw one tree."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from treeroll.cli.options import Address, FromDir

if TYPE_CHECKING:
    from treeroll.cli.trees import TreeView
    from treeroll.results.reader import ResultReader

LIST_OF = (
    "--list is of all trees in a directory: give --from and no tree; "
    "the trees of a service are listed by `treeroll dashboard --address HOST:PORT`"
)

Order = Literal["wasted", "tokens", "seconds", "leaves"]


def inspect(
    tree_id: Annotated[
        str | None,
        typer.Argument(
            metavar="[TREE_ID]",
            help="Tree id; with --from also its beginning, a task id, or none: a tree with better and worse leaves.",
            show_default=False,
        ),
    ] = None,
    address: Address = None,
    directory: FromDir = None,
    full: Annotated[bool, typer.Option("--full", help="Show whole texts.")] = False,
    listed: Annotated[
        bool, typer.Option("--list", help="With --from: a line per task, how its tree ended and what it cost.")
    ] = False,
    sort: Annotated[
        Order | None,
        typer.Option(help="Order of --list by one of its columns, most first.", show_default="as trees ended"),
    ] = None,
    why: Annotated[
        str | None,
        typer.Option(
            "--why",
            metavar="PATH",
            help="Say why the node of this path, as it is drawn from the prompt down, is there, and why it ended.",
            show_default=False,
        ),
    ] = None,
    svg: Annotated[
        Path | None,
        typer.Option("--svg", metavar="FILE", help="Write a picture of the tree instead.", show_default=False),
    ] = None,
) -> None:
    """Draw one tree in the terminal, leaves coloured by reward.

    Each line is a stretch without forks: its path, tokens, mean logprob and text.
    Of a tree that was cut, or a task without a sample, it says why.

    [bold]Examples[/bold]

      treeroll inspect --from runs/one

      treeroll inspect arith-017 --from runs/one --full

      treeroll inspect arith-017 --from runs/one --why 0.1.0

      treeroll inspect --list --sort wasted --from runs/one

      treeroll inspect 3f9a04c1b27d5e68 --address 127.0.0.1:7070

      treeroll inspect --from runs/one --svg tree.svg

      treeroll inspect --from tree-3f9a04c1b27d5e68.jsonl    # exported by the dashboard
    """
    from treeroll.cli import trees
    from treeroll.errors import InvalidInput
    from treeroll.results.exported import opened
    from treeroll.results.reader import ResultReader

    if (address is None) == (directory is None):
        raise InvalidInput("give either --address of a service or --from a result directory")
    if sort is not None and not listed:
        raise InvalidInput("--sort is the order of --list; give that too")
    if listed and (directory is None or tree_id is not None):
        raise InvalidInput(LIST_OF)
    if listed and svg is not None:
        raise InvalidInput("--svg is a picture of one tree, and --list is of all: give one of them")
    if why is not None and (listed or svg is not None):
        raise InvalidInput("--why is about one node of one tree: leave out --list and --svg")
    if svg is not None and not svg.parent.is_dir():
        raise InvalidInput(f"--svg {svg}: there is no directory {svg.parent}")
    if directory is not None:
        with opened(directory) as place:
            _show(ResultReader.existing(place), tree_id, full, listed, sort, svg, why)
    elif address is not None and tree_id is not None:
        _draw(trees.from_service(address, tree_id), full, svg, why)
    else:
        raise InvalidInput("name a tree: with --address that is the tree_id of its samples and of batch.trees")


def _show(
    reader: "ResultReader",
    wanted: str | None,
    full: bool,
    listed: bool,
    sort: Order | None,
    svg: Path | None,
    why: str | None,
) -> None:
    from treeroll.cli import drawing, trees
    from treeroll.cli.console import out

    if listed:
        out().print(drawing.listing(trees.listed(reader, sort)))
        return
    row = trees.find(reader, wanted)
    if row.n_leaves:
        _draw(trees.from_results(reader, row.tree_id), full, svg, why)
    else:
        out().print(drawing.without_sample(row))


def _draw(view: "TreeView", full: bool, svg: Path | None, why: str | None) -> None:
    from treeroll.cli import drawing, picture
    from treeroll.cli.console import note, out
    from treeroll.whole_file import whole_file

    if why is not None:
        out().print(drawing.why(view, why))
        return
    if svg is None:
        out().print(drawing.draw(view, full=full))
        return
    with whole_file(svg) as unfinished:
        unfinished.write_text(picture.svg(view), encoding="utf-8")
    note(f"the picture of tree {view.tree_id} is in {svg}")
