"""Where tasks come from: other projects' data sets, by name."""

import json
from collections.abc import Callable, Iterator, Mapping
from importlib.util import find_spec
from inspect import signature
from pathlib import Path
from typing import Any, NamedTuple

from treeroll.errors import InvalidInput
from treeroll.integrations import reasoning_gym, verifiers
from treeroll.whole_file import whole_file

Row = dict[str, Any]


class Source(NamedTuple):
    """One row of the registry."""

    rows: Callable[..., Iterator[Row]]
    module: str
    extra: str


SOURCES: Mapping[str, Source] = {
    "reasoning_gym": Source(reasoning_gym.rows, "reasoning_gym", "reasoning-gym"),
    "verifiers": Source(verifiers.rows, "verifiers", "verifiers"),
}


def rows_from(source: str, count: int | None = None, **options: Any) -> Iterator[Row]:
    """Rows of a task file from `KIND:NAME`, as "reasoning_gym:chain_sum"; the kind's own `rows` has the options.

    InvalidInput for a kind that is none, or whose library is not installed, and what `rows` raises.
    """
    kind, _, name = source.partition(":")
    if kind not in SOURCES or not name:
        known = ", ".join(f"{known}:NAME" for known in SOURCES)
        raise InvalidInput(f"'{source}' names no source of tasks; there are {known}")
    found = SOURCES[kind]
    if find_spec(found.module) is None:
        raise InvalidInput(f"tasks from '{source}' need a package: pip install 'treeroll[{found.extra}]'")
    if unknown := sorted(set(options) - set(signature(found.rows).parameters)):
        raise InvalidInput(f"tasks from '{source}' know no {', '.join(unknown)}")
    return found.rows(name, count, **options)


def write_tasks(path: Path, rows: Iterator[Row]) -> int:
    """Write a task file, whole or not at all; returns how many tasks it has. InvalidInput when there is none."""
    count = 0
    with whole_file(path) as unfinished, unfinished.open("w", encoding="utf-8") as file:
        for count, row in enumerate(rows, 1):  # noqa: B007 - the count is what is left
            file.write(line_of(row))
        if not count:
            raise InvalidInput(f"there is no task to write to {path}")
    return count


def line_of(row: Row) -> str:
    """A row as its line."""
    return json.dumps(row, ensure_ascii=False, allow_nan=False) + "\n"
