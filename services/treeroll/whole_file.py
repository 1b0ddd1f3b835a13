"""Files that appear whole or not at all."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """A path beside `path` to write to; it takes that name once its content is on the disk, or is removed on an error.

    Raises what writing raises.
    """
    unfinished = path.with_name(f".{path.name}.{os.getpid()}.unfinished")
    try:
        yield unfinished
        settle(unfinished, path)
    except BaseException:
        unfinished.unlink(missing_ok=True)
        raise


def write_whole(path: Path, content: bytes, mode: int) -> None:
    """Write a file that nobody whom `mode` does not allow it can ever read. Raises what writing raises."""
    with whole_file(path) as unfinished:
        file = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
        with open(file, "wb") as out:
            out.write(content)


def settle(unfinished: Path, final: Path) -> None:
    """Give a written file its name, after its content is on the disk."""
    with unfinished.open("rb+") as file:
        os.fsync(file.fileno())
    unfinished.replace(final)
