"""Garbage collection for a process with many long-lived, acyclic objects."""

import gc

# The default thresholds walk every live node again and again, and find nothing: our records hold no cycles.
THRESHOLDS = (50_000, 50, 1000)


def tune_gc() -> None:
    """Collect rarely, and leave what start-up created alone."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*THRESHOLDS)
