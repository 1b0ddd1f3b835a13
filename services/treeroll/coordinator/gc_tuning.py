"""Garbage collection for a process with many long-lived, acyclic objects."""

import gc

# The first bounds a pause: a collection of new objects visits what they refer to, and with a million live nodes that is
# in no cache. The second makes those of older objects rare: the default walks every live node again and again, and
# finds nothing, because our records hold no cycles.
THRESHOLDS = (10_000, 250, 1000)


def tune_gc() -> None:
    """Collect rarely, and leave what start-up created alone."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*THRESHOLDS)
