"""A log that outsiders cannot fill: so many lines of a kind in a while, and a count of the others."""

import logging
from dataclasses import dataclass

from treeroll import clock

LINES, PERIOD_S = 10, 10.0


@dataclass(slots=True)
class _Kind:
    """Lines with one text before their values are filled in."""

    began: float
    written: int = 0
    left_out: int = 0


class Sparing(logging.Filter):
    """Lets LINES of each kind pass in PERIOD_S seconds; the first one after that says how many were left out."""

    def __init__(self) -> None:
        super().__init__()
        self._kinds: dict[str, _Kind] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the line is written."""
        now = clock.monotonic()
        kind = self._kinds.setdefault(str(record.msg), _Kind(now))  # texts are the program's own, so these are few
        if now - kind.began >= PERIOD_S:
            kind.began, kind.written = now, 0
        if kind.written == LINES:
            kind.left_out += 1
            return False
        kind.written += 1
        if kind.left_out:
            record.msg = f"{record.msg} ({kind.left_out:,} lines like this one were left out before it)"
            kind.left_out = 0
        return True
