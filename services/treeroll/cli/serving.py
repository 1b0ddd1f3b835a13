"""Running the service in this process: readiness, signals, lifeline, errors."""

import asyncio
import json
import logging
import os
import signal
import sys
import threading
from typing import Any, NoReturn, TextIO

from treeroll.cli.console import note
from treeroll.cli.interrupts import heeded
from treeroll.cli.settings import Sections
from treeroll.config import parse
from treeroll.errors import TreerollError

log = logging.getLogger(__name__)

# A service whose owner is gone must be gone soon after, even if a part of it hangs while it is taken down.
ORPHAN_S = 12.0
FAILED = 1


def run_service(sections: Sections, *, lifeline: bool) -> None:
    """Run until a signal or, with `lifeline`, the end of standard input. Raises what the service raises."""
    for section in ("run", "tasks"):
        if sections.pop(section, None):
            note(f"note: section '{section}' is for rollouts; serve does not use it")
    import uvloop

    from treeroll.service import ServiceConfig

    config = parse(ServiceConfig, sections, "service configuration")
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    say = _private_stdout() if lifeline else sys.stdout
    try:
        uvloop.run(_run(config, say, lifeline))
    except BaseExceptionGroup as group:
        raise _cause(group) from None


async def _run(config: Any, say: TextIO, lifeline: bool) -> None:
    from treeroll.service import serve

    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in heeded():
        loop.add_signal_handler(number, _on_signal, stop)
    if lifeline:
        await _watch_stdin(stop)

    def on_ready(address: str) -> None:
        print(json.dumps({"address": address}) if lifeline else f"treeroll serves at {address}", file=say, flush=True)

    await serve(config, on_ready, stop)


def _on_signal(stop: asyncio.Event) -> None:
    if stop.is_set():
        _die()
    note("stopping; once more stops at once")
    stop.set()


class _Lifeline(asyncio.Protocol):
    """Sets `stop` when the other end of the pipe is gone."""

    def __init__(self, stop: asyncio.Event) -> None:
        self._stop = stop

    def connection_lost(self, exc: Exception | None) -> None:
        log.info("the process that started this service is gone or done: stopping")
        self._stop.set()
        # A thread, because what hangs may be the event loop.
        timer = threading.Timer(ORPHAN_S, _give_up)
        timer.daemon = True
        timer.start()


async def _watch_stdin(stop: asyncio.Event) -> None:
    """Watch a private copy of standard input; what we start gets none of it."""
    pipe = os.fdopen(os.dup(sys.stdin.fileno()), "rb", buffering=0)
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, sys.stdin.fileno())
    os.close(null)
    await asyncio.get_running_loop().connect_read_pipe(lambda: _Lifeline(stop), pipe)


def _private_stdout() -> TextIO:
    """A private copy of standard output; what others print, Ray's workers included, goes to standard error."""
    private = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    return private


def _give_up() -> None:
    log.error("the service did not stop within %g s: killing it", ORPHAN_S)
    _die()


def _die() -> NoReturn:
    """End at once, with everything in our process group if we lead one."""
    if os.getpgrp() == os.getpid():
        os.killpg(os.getpgrp(), signal.SIGKILL)
    os._exit(FAILED)


def _cause(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """The first typed error in a group, else the group's first error."""
    typed = group.subgroup(TreerollError)
    error: BaseException = typed or group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
