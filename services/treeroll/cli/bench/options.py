"""Options and ending that all benchmarks share."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from treeroll.bench.result import Result

WIDE = 200

RoundsOption = Annotated[
    int, typer.Option("--rounds", min=1, help="Measured rounds of each variant; Ctrl-C shows those so far.")
]
JsonOption = Annotated[
    Path | None,
    typer.Option("--json", metavar="FILE", help="Write every round's figures as JSON.", show_default=False),
]


def check_json(path: Path | None) -> None:
    """InvalidInput before an hour of measuring, not after it."""
    from treeroll.errors import InvalidInput

    if path is not None and not path.parent.is_dir():
        raise InvalidInput(f"--json {path}: there is no directory {path.parent}")


def show(result: "Result", json_file: Path | None) -> None:
    """Print the table and remarks; write the JSON if asked for. TreerollError if there are fewer rounds than wanted."""
    from rich.text import Text

    from treeroll.cli.console import note, out, table
    from treeroll.errors import TreerollError

    console = out()
    if not console.is_terminal:
        console.width = WIDE  # a file has no edge to wrap at
    found = result.table()
    console.print(table(found.title, found.columns, [[Text(cell) for cell in row] for row in found.rows]))
    for remark in result.remarks:
        console.print(remark, markup=False)
    if json_file is not None:
        result.write(json_file)
        note(f"every round is in {json_file}")
    if result.rounds.cut_short:
        raise TreerollError(f"{result.rounds.cut_short}; the table is of the rounds before it")
