"""The two clocks of the shell. The core never reads one: it is handed `now`."""

import time


def monotonic() -> float:
    """Seconds that never jump; leases and deadlines are measured on it."""
    return time.monotonic()


def wall() -> float:
    """Seconds since the Unix epoch, for people, records and days that people named."""
    return time.time()
