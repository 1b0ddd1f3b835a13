"""What is said of a service that is away, and whose time does not run meanwhile."""

import logging

import pytest

from treeroll.client.absence import Absence


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def absence(clock: Clock) -> Absence:
    return Absence("here:7070", clock)


def test_who_waits_is_told_after_5_seconds_then_every_30_and_when_it_is_over(
    absence: Absence, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    with absence.noted() as miss:
        for second in range(66):
            clock.now = 100.0 + second
            miss("nobody answers")
    said = [record.getMessage() for record in caplog.records]
    assert said == [
        "waiting for the service at here:7070, for 5 s now: nobody answers",
        "waiting for the service at here:7070, for 35 s now: nobody answers",
        "waiting for the service at here:7070, for 65 s now: nobody answers",
        "the wait for the service at here:7070 is over after 65 s",
    ]


def test_nothing_is_said_of_a_moment(absence: Absence, clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    for _ in range(9):
        with absence.noted() as miss:
            miss("nobody answers")
            clock.now += 4.0
    assert caplog.records == []


def test_calls_that_wait_together_are_one_absence_and_one_line(
    absence: Absence, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    with absence.noted() as miss:
        miss("one")
        with absence.noted() as other:
            clock.now += 6.0
            other("two")
            miss("one")
        assert len(caplog.records) == 1
        clock.now += 1.0
    assert [record.getMessage() for record in caplog.records][1:] == [
        "the wait for the service at here:7070 is over after 7 s"
    ]


def test_its_clock_stands_still_during_an_absence(absence: Absence, clock: Clock) -> None:
    with absence.noted():
        clock.now += 1.0  # answered at once, so nobody was away
    assert absence.clock() == 101.0
    for _ in range(2):
        before = absence.clock()
        with absence.noted() as miss:
            miss("nobody answers")
            clock.now += 50.0
            assert absence.clock() == before
        assert absence.clock() == before
        clock.now += 3.0
        assert absence.clock() == before + 3.0
