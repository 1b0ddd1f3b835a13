"""When the core must be called although nothing happens: time brings budget, ends it, and ends waits."""

from treeroll.core.state import State


def alarm(state: State) -> float | None:
    """The earliest such time on the clock of `now`; None if all waits for events. Ask after `assign`."""
    times = [bucket.ready_at(waiting[0][0]) for bucket, waiting in state.throttled.items()]
    if state.ends:
        times.append(state.ends[0][0])
    if state.timeouts:
        times.append(state.timeouts[0][0])
    return min(times, default=None)
