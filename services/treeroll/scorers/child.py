"""The process in which scorers run: `python -m treeroll.scorers.child FD`. It may be killed at any moment.

Scorers run in its main thread (some use signals), one item at a time.
"""

import contextlib
import ctypes
import signal
import sys
from functools import lru_cache
from multiprocessing.connection import Connection
from pathlib import Path

from treeroll.errors import InvalidInput
from treeroll.scorers import guard, registry, wire
from treeroll.scorers.base import ErrorKind, Scorer, ScoreResult

_PR_SET_PDEATHSIG = 1  # linux/prctl.h


def main(fd: int) -> None:
    """Answer jobs until the parent closes its end."""
    _die_with_parent()
    _die_first()
    connection: Connection[bytes, bytes] = Connection(fd)
    while True:
        try:
            message = connection.recv_bytes()
        except (EOFError, OSError):
            return
        if (scorer := wire.load_in(message)) is not None:
            with contextlib.suppress(InvalidInput):  # the job that needs it will say so
                _load(scorer)
        else:
            _answer(connection, message)


def _answer(connection: "Connection[bytes, bytes]", message: bytes) -> None:
    name, item = wire.unpack_job(message)
    try:
        scorer = _load(name)
    except InvalidInput as error:
        result = ScoreResult.failed(ErrorKind.UNLOADABLE, guard.one_line(str(error)))
        connection.send_bytes(wire.STARTED)
    else:
        connection.send_bytes(wire.STARTED)
        result = guard.run(scorer, item)
    connection.send_bytes(wire.pack_result(result))


@lru_cache(maxsize=64)  # one per scorer in use by live runs; failures are not kept, so a mended module loads
def _load(name: str) -> Scorer:
    return registry.load(name)


def _die_with_parent() -> None:
    """A parent killed while a scorer hangs cannot clean up. On Linux the kernel does it."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _die_first() -> None:
    """A model's answer can make a computer algebra system eat all memory: offer this process to the kernel first."""
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000")


if __name__ == "__main__":
    main(int(sys.argv[1]))
