"""Wait for a condition instead of sleeping. Timeouts end a test that hangs; they say nothing of how fast code is."""

import asyncio
import time
from collections.abc import Awaitable, Callable


async def eventually(
    check: Callable[[], Awaitable[object]], timeout_s: float = 300.0, interval_s: float = 0.01
) -> None:
    """Await `check` again and again until it returns something true. AssertionError after `timeout_s`."""
    deadline = time.monotonic() + timeout_s
    while not await check():
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {timeout_s:g} s: {check}")
        await asyncio.sleep(interval_s)


def eventually_sync(check: Callable[[], object], timeout_s: float = 300.0, interval_s: float = 0.01) -> None:
    """Call `check` again and again until it returns something true. AssertionError after `timeout_s`."""
    deadline = time.monotonic() + timeout_s
    while not check():
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {timeout_s:g} s: {check}")
        time.sleep(interval_s)
