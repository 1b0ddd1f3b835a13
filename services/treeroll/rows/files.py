"""The files that tasks come in, and their rows.

A task file holds one task per row: JSON lines or an array of objects (`.jsonl`, `.ndjson`, `.json`), or Parquet
(`.parquet`, `.pq`). Several files are given by a folder, a glob, or one by one; those of a folder or a glob are read in
the order of their names.
"""

import glob
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from treeroll.checks import check_path, kind
from treeroll.errors import InvalidInput
from treeroll.plain_json import unique
from treeroll.rows.values import WrittenFloat

OneOrMore = str | Path | Sequence[str | Path]
Value = Mapping[str, Any] | InvalidInput
"""A row, or why it is none: the caller may want to skip it."""

LINES, PARQUET, JSON = (".jsonl", ".ndjson"), (".parquet", ".pq"), (".json",)
SUFFIXES = (*LINES, *PARQUET, *JSON)
PACKED = (".gz", ".bz2", ".xz", ".zst", ".zip", ".tar", ".tgz")
# First bytes of files that are none of ours, and what they are.
MAGIC = {
    b"\x1f\x8b": "packed by gzip; unpack it first",
    b"\x28\xb5\x2f\xfd": "packed by zstd; unpack it first",
    b"PK\x03\x04": "a zip archive; unpack it first",
    b"PAR1": "Parquet; let its name end in .parquet",
    b"\xff\xfe": "no UTF-8 but UTF-16 or UTF-32; save it as UTF-8",
    b"\xfe\xff": "no UTF-8 but UTF-16; save it as UTF-8",
}
NEEDED = "one object per line, or one array of objects, is needed"


@dataclass(frozen=True, slots=True)
class Row:
    """One row of a task file."""

    path: Path
    place: str
    """How people are told where it is, such as "line 3"."""
    number: int
    """Its number, counted from 1 and on through all files."""
    alone: bool
    """Whether its file is the only one."""
    value: Value


def task_files(source: OneOrMore) -> list[Path]:
    """The files that a path, a folder, a glob, or several of these mean. InvalidInput if one means none."""
    sources = source if isinstance(source, list | tuple) else [source]
    for one in sources:
        check_path("path", one)
    found = [path for one in sources for path in _files_of(str(one))]
    if not found:
        raise InvalidInput("no task file was given")
    return list(dict.fromkeys(found))


def source_name(source: OneOrMore) -> str:
    """What the user gave, for people."""
    return str(source) if isinstance(source, str | Path) else ", ".join(map(str, source))


def rows_of(paths: Sequence[Path]) -> Iterator[Row]:
    """All rows. InvalidInput for a file that cannot be read."""
    before = 0
    for path in paths:
        number = 0
        for place, value in _read(path):
            number = int(place.rpartition(" ")[2])
            yield Row(path, place, before + number, len(paths) == 1, value)
        before += number


def _files_of(source: str) -> list[Path]:
    path = Path(source)
    if path.is_dir():
        return _files_in(path)
    if not glob.has_magic(source) or path.exists():
        return [path]
    found = sorted(Path(name) for name in glob.glob(source, recursive=True))
    files = [path for path in found if path.is_file()]
    if not files:
        raise InvalidInput(f"{source} matches no file")
    return files


def _files_in(folder: Path) -> list[Path]:
    """A folder's shards, all of one kind. A `.json` beside others is about them, as `dataset_infos.json` is."""
    visible = sorted(path for path in folder.iterdir() if path.is_file() and path.name[0] not in "._")
    kinds = [[path for path in visible if path.suffix.lower() in kind] for kind in (LINES, PARQUET, JSON)]
    lines, parquet, arrays = kinds
    if lines and parquet:
        raise InvalidInput(f"{folder} holds both {lines[0].name} and {parquet[0].name}; say which with a glob")
    files = lines or parquet or arrays
    if not files:
        raise InvalidInput(
            f"{folder} holds no file that ends in {', '.join(SUFFIXES)}; for those in folders below give a glob, such "
            f"as '{folder}/**/*.parquet'"
        )
    return files


def _read(path: Path) -> Iterator[tuple[str, Value]]:
    """(place, row) for every row."""
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        hint = "; unpack it first" if suffix in PACKED else "; save it as JSON lines or Parquet"
        raise InvalidInput(f"{path} must end in {', '.join(sorted(SUFFIXES))}{hint}")
    try:
        yield from _parquet(path) if suffix in PARQUET else _json(path)
    except OSError as error:
        raise InvalidInput(f"{path} cannot be read: {error.strerror or error}") from None


def _parquet(path: Path) -> Iterator[tuple[str, Value]]:
    from treeroll.rows.parquet import parquet_rows  # here: importing pyarrow takes a while

    yield from parquet_rows(path)


def _json(path: Path) -> Iterator[tuple[str, Value]]:
    with path.open("rb") as lines:  # bytes: one line that is not UTF-8 must not hide the others
        first = True
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            if first and (what := next((MAGIC[magic] for magic in MAGIC if line.startswith(magic)), None)):
                raise InvalidInput(f"{path} is {what}")
            if first and (array := _whole(path, line)) is not None:
                for item, value in enumerate(array, 1):
                    yield f"item {item}", _object(value)
                return
            first = False
            yield f"line {number}", _parsed(line)


def _whole(path: Path, first: bytes) -> list[Any] | None:
    """The file's array, if it is one that begins with this line; None for JSON lines.

    InvalidInput for JSON that is neither: an array cut off, or objects over several lines.
    """
    start = first.decode("utf-8-sig", "replace").strip()
    if start[0] not in "[{" or (start[0] == "{" and _is_json(start)):
        return None
    try:
        value = _value(path.read_bytes().decode("utf-8-sig"))
    except json.JSONDecodeError as error:
        if _is_json(start):  # a line that holds an array, among others
            return None
        if start[0] == "[":
            raise InvalidInput(
                f"{path} begins as a JSON array and is none ({error.msg} at line {error.lineno}, column {error.colno})"
            ) from None
        several = error.msg == "Extra data"
    except (UnicodeDecodeError, RecursionError):
        return None
    except ValueError as error:
        raise InvalidInput(f"{path} holds an array that is not usable JSON ({error})") from None
    else:
        if isinstance(value, list):
            return value
        several = True
    if several:
        raise InvalidInput(f"{path} holds a JSON object over several lines; {NEEDED}")
    return None


def _value(text: str) -> Any:
    return json.loads(text, parse_float=WrittenFloat, object_pairs_hook=unique)


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True


def _parsed(line: bytes) -> Value:
    try:
        row = _value(line.decode("utf-8-sig"))
    except json.JSONDecodeError as error:
        return InvalidInput(f"not valid JSON ({error.msg} at column {error.colno})")
    except UnicodeDecodeError as error:
        return InvalidInput(f"not valid UTF-8 (byte {error.start + 1})")
    except (ValueError, RecursionError) as error:
        return InvalidInput(f"not usable JSON ({error})")
    return _object(row)


def _object(row: Any) -> Value:
    return row if isinstance(row, dict) else InvalidInput(f"a task must be an object with fields, got {kind(row)}")
