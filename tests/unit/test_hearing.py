"""Nobody's silence counts for a time in which this process stood still."""

from collections.abc import Iterator

import pytest

from treeroll import clock
from treeroll.coordinator.hearing import Hearing


class Time:
    """A clock that a test moves on."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def time() -> Iterator[Time]:
    time = Time()
    clock.read_from(time, time)
    yield time
    clock.read_from()


def test_who_says_nothing_while_this_process_listens_is_silent(time: Time) -> None:
    hearing = Hearing(1.0)
    assert hearing.silent_s(90.0) == 10.0  # nobody looks yet: it is taken to listen
    for _ in range(5):
        assert not hearing.look()
        time.now += 1.5
    assert hearing.silent_s(100.0) == 7.5


def test_who_could_not_be_heard_is_not_silent_for_that(time: Time) -> None:
    hearing = Hearing(1.0)
    assert not hearing.look()
    time.now = 160.0
    assert hearing.silent_s(99.0) == 1.0  # before it looks itself
    assert hearing.look()
    assert hearing.silent_s(99.0) == 0.0
    time.now = 161.0
    assert not hearing.look()
    assert (hearing.silent_s(99.0), hearing.silent_s(160.5)) == (1.0, 0.5)
