"""Running a benchmark that has processes of its own: the first Ctrl-C takes them down and ends, the second kills."""

import multiprocessing
import os
from collections.abc import Awaitable
from typing import NoReturn, TypeVar

from treeroll.cli.interrupts import Interrupted, Interrupts

T = TypeVar("T")

INTERRUPTED = 130


async def unless_interrupted(work: Awaitable[T]) -> T:
    """The work's result; after a signal it is cancelled, has cleaned up, and KeyboardInterrupt is raised."""
    try:
        with Interrupts(_stop_at_once) as interrupts:
            return await interrupts.unless_asked(work)
    except Interrupted:
        raise KeyboardInterrupt from None


def _stop_at_once() -> NoReturn:
    for child in multiprocessing.active_children():  # services see by their lifeline that we are gone
        child.kill()
    os._exit(INTERRUPTED)
