"""One scorer, one item, and a result whatever happens."""

import math
from collections.abc import Mapping
from typing import Any

from treeroll.scorers.base import MAX_REWARD, ErrorKind, MissingInput, ScoreItem, Scorer, ScoreResult

MAX_ERROR_CHARS = 300


def run(scorer: Scorer, item: ScoreItem) -> ScoreResult:
    """Score; turn exceptions and everything that is not a finite number into an error.

    SystemExit counts as an exception of the scorer. KeyboardInterrupt does not: it is the operator's.
    """
    try:
        return to_result(scorer.score(item))
    except MissingInput as error:
        return ScoreResult.failed(ErrorKind.MISSING, one_line(str(error)))
    except (Exception, SystemExit) as error:
        return ScoreResult.failed(ErrorKind.RAISED, describe(error))


def to_result(returned: Any) -> ScoreResult:
    """Check what a scorer returned.

    Numbers of any library and booleans are fine, and so are they as the `score` of a mapping or the first of a tuple,
    as other projects' reward functions return them. None there abstains. Text and other containers are errors.
    """
    if isinstance(returned, Mapping) and "score" in returned:
        returned = returned["score"]
    elif isinstance(returned, tuple) and returned:
        returned = returned[0]
    if returned is None:
        return ScoreResult(None)
    try:
        if not hasattr(type(returned), "__float__"):
            raise TypeError
        value = float(returned)
    except OverflowError:
        return ScoreResult.failed(ErrorKind.NOT_FINITE, "not finite: an integer too large for a float")
    except Exception:  # __float__ of foreign types may raise anything, as of an array with two elements
        kind = type(returned).__name__
        return ScoreResult.failed(ErrorKind.NOT_A_NUMBER, one_line(f"not a number: the scorer returned a {kind}"))
    if not math.isfinite(value):
        return ScoreResult.failed(ErrorKind.NOT_FINITE, f"not finite: {value}")
    if abs(value) > MAX_REWARD:
        return ScoreResult.failed(ErrorKind.NOT_FINITE, f"not finite for our purposes: {value:g}")
    return ScoreResult(value)


def describe(error: BaseException) -> str:
    """`Type: message` in one short line, even if the message itself raises."""
    try:
        message = str(error)
    except Exception:
        message = "(its message cannot be shown)"
    return one_line(f"{type(error).__name__}: {message}" if message else type(error).__name__)


def one_line(text: str) -> str:
    """Printable, without line breaks, at most MAX_ERROR_CHARS long."""
    head = " ".join(text[: 4 * MAX_ERROR_CHARS].split())
    shown = "".join(character if character.isprintable() else "?" for character in head)
    return shown if len(shown) <= MAX_ERROR_CHARS else shown[: MAX_ERROR_CHARS - 1] + "…"
