"""Running a benchmark that has processes of its own: the first signal takes them down and ends, the second kills."""

import asyncio
import multiprocessing
import os
import signal
from collections.abc import Coroutine
from typing import Any, NoReturn, TypeVar

from treeroll.cli.interrupts import Interrupted, Interrupts, exit_code

T = TypeVar("T")


async def unless_interrupted(work: Coroutine[Any, Any, T]) -> T:
    """The work's result. After a signal it is cancelled and cleans up; Interrupted if it then has no result."""
    with Interrupts(_stop_at_once) as interrupts:
        measuring, asked = asyncio.create_task(work), asyncio.create_task(interrupts.asked.wait())
        await asyncio.wait([measuring, asked], return_when=asyncio.FIRST_COMPLETED)
        asked.cancel()
        if not measuring.done():
            measuring.cancel()
        try:
            return await measuring
        except asyncio.CancelledError:
            raise Interrupted(interrupts.number) from None


def _stop_at_once(number: signal.Signals) -> NoReturn:
    for child in multiprocessing.active_children():  # services see by their lifeline that we are gone
        child.kill()
    os._exit(exit_code(number))
