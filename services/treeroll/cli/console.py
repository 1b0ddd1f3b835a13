"""What people read: results on stdout, progress and notes on stderr, hostile text made harmless."""

import sys
import unicodedata
from collections.abc import Sequence
from typing import Literal

from rich.console import Console
from rich.table import Table
from rich.text import Text

# Characters that move the cursor, hide, reorder or are nothing: controls, formats, surrogates, unassigned, private.
_UNSAFE = frozenset({"Cc", "Cf", "Cs", "Cn", "Co", "Zl", "Zp"})
_SHORT = {"\n": "\\n", "\t": "\\t", "\r": "\\r"}


def out() -> Console:
    """Where results go."""
    return Console(highlight=False, soft_wrap=False)


def note(sentence: str) -> None:
    """One line for people, beside the results."""
    print(plain(sentence), file=sys.stderr, flush=True)


def plain(text: str) -> str:
    """Text that cannot control a terminal: everything that is not a plain character is written as an escape.

    Model output and task files are hostile: escape sequences, bidirectional overrides, zero-width characters are shown.
    """
    return "".join(_visible(character) for character in text)


def _visible(character: str) -> str:
    if character in _SHORT:
        return _SHORT[character]
    if unicodedata.category(character) not in _UNSAFE:
        return character
    code = ord(character)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def clip(text: str, width: int) -> str:
    """The beginning of a text, with an ellipsis if there is more."""
    return text if len(text) <= width else f"{text[: width - 1]}…"


def clip_start(text: str, width: int) -> str:
    """The end of a text, with an ellipsis if there is more."""
    return text if len(text) <= width else f"…{text[len(text) - width + 1 :]}"


def number(value: float | None, digits: int = 3) -> str:
    """A figure for people: thousands separated, "-" for none."""
    if value is None:
        return "-"
    return f"{value:,}" if isinstance(value, int) else f"{value:,.{digits}f}"


def counted(count: int, noun: str) -> str:
    """ "1 replica", "2 replicas"."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str | Text]]) -> Table:
    """A compact table; a column whose name starts with ">" is right-aligned. Strings are shown whole, as they are."""
    grid = Table(title=title or None, title_justify="left", title_style="bold", box=None, pad_edge=False)
    grid.padding = (0, 2, 0, 0)
    grid.show_header = any(column.strip(">") for column in columns)
    for column in columns:
        justify: Literal["left", "right"] = "right" if column.startswith(">") else "left"
        grid.add_column(column.lstrip(">"), justify=justify, header_style="dim", overflow="fold")
    for row in rows:
        grid.add_row(*(Text(plain(value)) if isinstance(value, str) else value for value in row))
    return grid
