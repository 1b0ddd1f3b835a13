"""A limit of memory for what reads files that may stand for more than there is."""

import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

STATUS = Path("/proc/self/status")
KIB = 1 << 10


@contextmanager
def room_for(size: int) -> Iterator[None]:
    """While the context lasts this process, with all its threads, may take so many bytes more: MemoryError beyond.

    On Linux; elsewhere there is no limit.
    """
    had, hard = resource.getrlimit(resource.RLIMIT_DATA)
    if (taken := _taken()) is None:
        yield
        return
    resource.setrlimit(resource.RLIMIT_DATA, (_lowest(taken + size, had, hard), hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, (had, hard))


def _lowest(*limits: int) -> int:
    return min(limit for limit in limits if limit != resource.RLIM_INFINITY)


def _taken() -> int | None:
    """Bytes of private memory that the limit counts."""
    try:
        lines = STATUS.read_text().splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) * KIB for line in lines if line.startswith("VmData:")), None)
