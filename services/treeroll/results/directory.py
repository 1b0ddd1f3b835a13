"""ResultDir: a rollout's directory: may it be written, by whom, and what is in it."""

import contextlib
import fcntl
import json
import os
import tempfile
from collections.abc import Iterator, Mapping
from enum import Enum
from pathlib import Path
from typing import Any

from treeroll.errors import InvalidInput
from treeroll.whole_file import whole_file

KINDS = ("samples", "nodes", "trees")
# What was decided is there where the service logged it and could be asked.
EVERY_KIND = ("events", *KINDS)


class Mode(Enum):
    """What to do with results that are there."""

    REFUSE = "refuse"
    RESUME = "resume"
    OVERWRITE = "overwrite"


class ResultDir:
    """Paths and states of one directory."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def parts(self) -> Path:
        """Folder of the parts."""
        return self.path / "parts"

    @property
    def summary(self) -> Path:
        """Figures of the finished rollout."""
        return self.path / "summary.json"

    @property
    def run(self) -> Path:
        """What was asked for."""
        return self.path / "run.json"

    @property
    def log(self) -> Path:
        """Log of the service that the rollout started."""
        return self.path / "service.log"

    def merged(self, kind: str) -> Path:
        """File of all rows of a kind."""
        return self.path / f"{kind}.parquet"

    def part(self, kind: str, index: int) -> Path:
        """One part of a kind."""
        return self.parts / f"{kind}-{index:05d}.parquet"

    def part_indices(self, kind: str = "samples") -> list[int]:
        """Numbers of the parts of a kind that are there, ascending."""
        names = (path.stem.rpartition("-")[2] for path in self.parts.glob(f"{kind}-*.parquet"))
        return sorted(int(name) for name in names if name.isdigit())

    def holds_results(self) -> bool:
        """Whether something would be lost by writing here anew."""
        files = [self.run, self.summary, *(self.merged(kind) for kind in EVERY_KIND)]
        return any(path.exists() for path in files) or any(self.parts.glob("*.parquet"))

    def check(self, mode: Mode) -> None:
        """InvalidInput if a rollout may not write here. Leaves nothing behind."""
        if self.path.exists() and not self.path.is_dir():
            raise InvalidInput(f"output directory {self.path} is not a directory")
        _probe(self.path)
        if mode is Mode.REFUSE and self.holds_results():
            raise InvalidInput(
                f"output directory {self.path} holds results; give --resume to go on, --overwrite to replace them, "
                "or another --out"
            )

    @contextlib.contextmanager
    def opened(self) -> Iterator[None]:
        """Make the directory and keep other rollouts out. What was made goes again if it stays empty."""
        made = [path for path in (self.path, *self.path.parents) if not path.exists()]
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            with _locked(self.path):
                yield
        finally:
            with contextlib.suppress(OSError):  # the first that is not empty ends it
                for path in made:
                    path.rmdir()

    def clear(self) -> None:
        """Remove results, and nothing else that may lie here."""
        for path in (self.summary, *(self.merged(kind) for kind in EVERY_KIND)):
            path.unlink(missing_ok=True)
        self.clear_parts()
        self.run.unlink(missing_ok=True)

    def clear_parts(self, below: int | None = None) -> None:
        """Remove parts (numbered less than `below`), unfinished ones too, and their folder if it is empty then."""
        for kind in EVERY_KIND:
            for index in self.part_indices(kind):
                if below is None or index < below:
                    self.part(kind, index).unlink(missing_ok=True)
        for path in self.parts.glob("*.parquet.tmp"):
            path.unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            self.parts.rmdir()


def write_json(path: Path, values: Mapping[str, Any]) -> None:
    """Write a JSON file that appears whole or not at all."""
    with whole_file(path) as unfinished:
        unfinished.write_text(json.dumps(values, indent=2, allow_nan=False) + "\n")


def _probe(path: Path) -> None:
    """Try to write where the directory is or will be: permissions alone do not tell."""
    place = next((place for place in (path, *path.absolute().parents) if place.exists()), path)
    if not place.is_dir():
        raise InvalidInput(f"output directory {path} cannot be made: {place} is not a directory")
    try:
        with tempfile.TemporaryDirectory(prefix=".treeroll-", dir=place):
            pass
    except OSError as error:
        raise InvalidInput(f"output directory {path} is not writable: {error.strerror}") from None


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError:
        raise InvalidInput(f"another rollout is writing to {path}; choose another --out or wait for it") from None
    finally:
        os.close(descriptor)
