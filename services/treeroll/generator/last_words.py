"""What a process wrote before it ended, cut down to what a person wants to read first."""

import re
from pathlib import Path

TAIL_BYTES = 64 << 10
SHOWN_LINES = 20
# Of a cause: so many errors, or else so many lines, each so long.
ERRORS, LINES, WIDTH = 2, 3, 300
# How vLLM and Ray begin the lines of their processes.
_PREFIX = re.compile(
    r"^(?:\x1b\[[0-9;]*m)*(?:\([^)]*pid=\d+[^)]*\)\s*)?(?:\x1b\[[0-9;]*m)*(?:[A-Z]+ [-0-9: .]+\[[^\]]*\]\s?)?"
)
# The last line of a traceback.
_ERROR = re.compile(r"^(?:(?:[A-Za-z_]\w*\.)+[A-Z]\w*|[A-Z]\w*(?:Error|Exception|Exit|Interrupt|Failure))(?::|$)")
# Errors that only say that there was another one.
_ECHO = re.compile(r"Engine core initialization failed|see root cause above|WorkerProc initialization failed", re.I)


def tail(log: Path) -> list[str]:
    """The last lines of a log, without what its writers put before each; none if there is no log."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - TAIL_BYTES))
            text = file.read().decode(errors="replace")
    except OSError:
        return []
    return [line for raw in text.splitlines() if (line := _PREFIX.sub("", raw).rstrip())]


def cause_in(lines: list[str], known: str) -> str:
    """The errors among the lines that came first and say something, else the last lines; empty if there are none.

    `known`: what has been said already.
    """
    found = dict.fromkeys(line.strip() for line in lines if _ERROR.match(line) and not _ECHO.search(line))
    errors = [error for error in found if error.partition(": ")[2] not in known]
    told = errors[:ERRORS] if found else [line.strip() for line in lines[-LINES:]]
    return " | ".join(line if len(line) <= WIDTH else f"{line[: WIDTH - 1]}…" for line in told)
