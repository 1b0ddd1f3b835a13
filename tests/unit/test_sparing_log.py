"""A log that outsiders write into has so many lines of a kind in a while, and says how many were left out."""

import logging

import pytest

from treeroll import clock
from treeroll.sparing_log import LINES, PERIOD_S, Sparing


def test_lines_of_a_kind_are_counted_and_others_written(caplog: pytest.LogCaptureFixture) -> None:
    log = logging.getLogger("test.sparing")
    log.addFilter(Sparing())
    now = 0.0
    clock.read_from(monotonic=lambda: now)
    try:
        for number in range(LINES + 5):
            log.warning("call %d was refused", number)
        log.warning("another kind")
        now = PERIOD_S
        log.warning("call %d was refused", 99)
        log.warning("call %d was refused", 100)
    finally:
        clock.read_from()
    assert caplog.messages == [
        *(f"call {number} was refused" for number in range(LINES)),
        "another kind",
        "call 99 was refused (5 lines like this one were left out before it)",
        "call 100 was refused",
    ]
