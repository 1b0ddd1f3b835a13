"""Options that several commands share."""

from pathlib import Path
from typing import Annotated

import typer

Address = Annotated[
    str | None, typer.Option("--address", metavar="HOST:PORT", help="A running service.", show_default=False)
]
FromDir = Annotated[
    Path | None,
    typer.Option(
        "--from",
        metavar="DIR",
        help="A result directory of `treeroll rollout`, or an exported tree.",
        show_default=False,
    ),
]
ServiceAddress = Annotated[str, typer.Option("--address", metavar="HOST:PORT", help="The service.")]
DEFAULT_ADDRESS = "127.0.0.1:7070"

StoreUrl = Annotated[
    str | None,
    typer.Option("--store", metavar="URL", help="Its store, for who does not ask it.", show_default=False),
]

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, for scripts.")]
