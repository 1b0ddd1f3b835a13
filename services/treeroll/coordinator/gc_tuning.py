"""Garbage collection for a process with many long-lived, acyclic objects."""

import gc

# The default thresholds walk every live node again and again, and find nothing: our records hold no cycles.
THRESHOLDS = (50_000, 1000, 10)
# Between two collections of what is new.
EVENTS = 4096


def tune_gc() -> None:
    """Collect rarely, and leave what start-up created alone."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*THRESHOLDS)


class YoungCollector:
    """Collects what is new after every few thousand events, which takes milliseconds.

    Python counts new objects less freed ones until its threshold. Where as many trees end as start, that difference
    stays small while everything that lives becomes new, and then one collection walks it all.
    """

    def __init__(self) -> None:
        self._events = 0

    def took(self, events: int) -> None:
        """So many more events were taken in."""
        self._events += events
        if self._events >= EVENTS:
            self._events = 0
            gc.collect(0)
