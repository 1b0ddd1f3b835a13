"""Running the service in this process: readiness, signals, lifeline, errors."""

import asyncio
import json
import logging
import os
import signal
import sys
import threading
from collections.abc import Mapping
from copy import copy
from functools import partial
from typing import Any, NoReturn, TextIO

from pydantic import ValidationError

from treeroll.access.config import AccessConfig, check_host
from treeroll.cli.console import note, plain
from treeroll.cli.interrupts import Interrupts, exit_code, heeded, signal_name
from treeroll.cli.settings import Sections
from treeroll.config import CoordinatorConfig, parse
from treeroll.errors import cause_of

log = logging.getLogger(__name__)

# A service whose owner is gone must be gone soon after, even if a part of it hangs while it is taken down.
ORPHAN_S = 12.0
FAILED = 1


def run_service(sections: Sections, *, lifeline: bool) -> None:
    """Run until a signal or, with `lifeline`, the end of standard input. Raises what the service raises."""
    for section in ("run", "tasks"):
        if sections.pop(section, None):
            note(f"note: section '{section}' is for rollouts; serve does not use it")
    heed_signals()
    # Read when gRPC is loaded. Its own log has a line for each bad header, so that strangers could fill it.
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    _check_place(sections)
    import uvloop

    from treeroll.service import ServiceConfig

    config = parse(ServiceConfig, sections, "service configuration")
    log_to_stderr()
    say = _private_stdout() if lifeline else sys.stdout
    try:
        uvloop.run(_run(config, say, lifeline))
    except BaseExceptionGroup as group:
        raise cause_of(group) from None


async def _run(config: Any, say: TextIO, lifeline: bool) -> None:
    from treeroll.cli.beside import Beside
    from treeroll.service import serve

    def tell(what: str, sentence: str, value: str) -> None:
        print(json.dumps({what: value}) if lifeline else f"{sentence} {value}", file=say, flush=True)

    beside = Beside(config, partial(tell, "dashboard", "dashboard:"))
    with Interrupts(die, on_first=say_stopping) as interrupts:
        if lifeline:
            await _watch_stdin(interrupts.asked)
        try:
            await serve(config, partial(tell, "address", "treeroll serves at"), interrupts.asked, beside.start)
        finally:
            await beside.stop()


def _check_place(sections: Sections) -> None:
    """Unavailable if the port is taken, the commonest failure of all: said before the seconds that loading takes."""
    try:
        config = CoordinatorConfig.model_validate(sections.get("coordinator", {}))
        access = AccessConfig.model_validate(sections.get("access", {}))
    except ValidationError:  # told with the rest of the settings
        return
    from treeroll.channels import check_port

    check_host(config.host, access)
    if not config.standby:  # who stands by may do so where the owner listens
        check_port(config.host, config.port)


def heed_signals() -> None:
    """End at a signal while nothing is started: the first process of a container has no default for SIGTERM."""
    for number in heeded():
        signal.signal(number, _leave)


def log_to_stderr() -> None:
    """What modules have to say, a line each."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(OneLine("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logging.basicConfig(level=logging.INFO, handlers=[handler])


def say_stopping(number: signal.Signals) -> None:
    """At the first signal."""
    note(f"stopping, after {signal_name(number)}; once more stops at once")


def _leave(number: int, frame: object) -> NoReturn:
    """End a process that has started nothing."""
    note(f"stopped by {signal_name(signal.Signals(number))}")
    os._exit(0)


class OneLine(logging.Formatter):
    """What others sent begins no line of its own and moves no cursor: what stands in a message is escaped."""

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        if record.args:
            record = copy(record)
            given = record.args
            record.args = (
                {key: _harmless(value) for key, value in given.items()}
                if isinstance(given, Mapping)
                else tuple(map(_harmless, given or ()))
            )
        return super().format(record)


def _harmless(value: object) -> object:
    return value if isinstance(value, int | float) else plain(str(value))


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
    os._exit(FAILED)


def die(number: signal.Signals) -> NoReturn:
    """At the second signal. What we have started ends with us."""
    note(f"stopped at once by {signal_name(number)}")
    os._exit(exit_code(number))
