"""The two clocks of the shell. The core never reads one: it is handed `now`."""

import time
from collections.abc import Callable

_monotonic: Callable[[], float] = time.monotonic
_wall: Callable[[], float] = time.time


def monotonic() -> float:
    """Seconds that never jump; leases and deadlines are measured on it."""
    return _monotonic()


def wall() -> float:
    """Seconds since the Unix epoch, for people, records and days that people named."""
    return _wall()


def read_from(monotonic: Callable[[], float] = time.monotonic, wall: Callable[[], float] = time.time) -> None:
    """Have this process read other clocks: a simulation's. Without arguments, those of the machine again."""
    global _monotonic, _wall
    _monotonic, _wall = monotonic, wall
