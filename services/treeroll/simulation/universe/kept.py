"""Broken worlds, written down whole: a seed stands for another world once worlds can do more, a file does not."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from treeroll.config import describe
from treeroll.errors import InvalidInput
from treeroll.simulation.universe.search import Case, Outcome
from treeroll.whole_file import whole_file


@dataclass(frozen=True)
class Kept:
    """A world that broke a promise, and what was seen of it."""

    case: Case
    broken: str
    commit: str
    """Of the code that it was seen with; with other code another trace may come of the same case."""
    digest: str
    """Of its trace."""


_KEPT = TypeAdapter(Kept)


def keep(outcome: Outcome, commit: str, path: Path) -> None:
    """Write a broken world to a file, which `read` reads. Raises what writing raises."""
    kept = Kept(outcome.case, str(outcome.broken[0]), commit, outcome.digest)
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(path) as unfinished:
        unfinished.write_text(json.dumps(asdict(kept), indent=1) + "\n")


def read(path: Path) -> Kept:
    """A world that was kept. InvalidInput for a file that is none, or that has faults or work which this version of
    worlds does not know."""
    try:
        return _KEPT.validate_python(json.loads(path.read_text()))
    except OSError as error:
        raise InvalidInput(f"{path}: {error.strerror}") from None
    except ValidationError as error:
        raise InvalidInput(f"{path} is no world that scripts/simulate can have: {describe(error)}") from None
    except ValueError as error:
        raise InvalidInput(f"{path} is not JSON: {error}") from None
