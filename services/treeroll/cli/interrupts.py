"""Interrupts: Ctrl-C, or another signal, once asks for a clean end, twice ends at once."""

import asyncio
import signal
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import TypeVar

from treeroll import clock
from treeroll.errors import TreerollError

T = TypeVar("T")

# A scheduler's SIGTERM and a closed terminal are treated as a Ctrl-C: keep what is complete. Only names and exit codes
# differ.
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
# `timeout` and process managers signal a process and then its group: that is one request, not two. Fingers are two.
ONE_REQUEST_S = 0.5


def heeded() -> list[signal.Signals]:
    """The signals that ask for an end: a closed terminal does not, under `nohup`."""
    ignored = signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    return [number for number in SIGNALS if not (ignored and number == signal.SIGHUP)]


def signal_name(number: signal.Signals) -> str:
    """What people call a signal."""
    return "Ctrl-C" if number == signal.SIGINT else number.name


def exit_code(number: signal.Signals) -> int:
    """The exit status that shells give to what a signal ended."""
    return 128 + number


class Interrupted(TreerollError):
    """A signal asked for the end before there was anything to keep."""

    def __init__(self, number: signal.Signals) -> None:
        super().__init__(f"stopped by {signal_name(number)}; nothing was written")
        self.number = number


class Interrupts:
    """Handles signals inside a running event loop, as a context."""

    def __init__(
        self,
        on_second: Callable[[signal.Signals], None],
        on_first: Callable[[signal.Signals], None] = lambda number: None,
    ) -> None:
        """Both are called with the signal; `on_second` must end the process."""
        self.asked = asyncio.Event()
        self.number = signal.SIGINT
        """The first signal; meaningless before `asked` is set."""
        self._on_first = on_first
        self._on_second = on_second
        self._heeded = heeded()
        self._first_at = 0.0

    def __enter__(self) -> "Interrupts":
        for number in self._heeded:
            asyncio.get_running_loop().add_signal_handler(number, self._handle, number)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number in self._heeded:
            asyncio.get_running_loop().remove_signal_handler(number)

    def _handle(self, number: signal.Signals) -> None:
        now = clock.monotonic()
        if not self.asked.is_set():
            self._first_at = now
            self.number = number
            self.asked.set()
            self._on_first(number)
        elif number == signal.SIGINT or now - self._first_at > ONE_REQUEST_S:
            self._on_second(number)

    async def unless_asked(self, work: Awaitable[T]) -> T:
        """The work's result; Interrupted, and the work cancelled, if a signal comes first."""

        async def asked() -> None:
            await self.asked.wait()
            raise Interrupted(self.number)

        return await unless(work, asked())


async def unless(work: Awaitable[T], trouble: Awaitable[None]) -> T:
    """The work's result, unless `trouble` raises first: then that is raised, and the work cancelled."""
    main, watch = asyncio.ensure_future(work), asyncio.ensure_future(trouble)
    try:
        await asyncio.wait([main, watch], return_when=asyncio.FIRST_COMPLETED)
        if not main.done():
            await watch
        return await main
    finally:
        for task in (main, watch):
            task.cancel()
        await asyncio.gather(main, watch, return_exceptions=True)
