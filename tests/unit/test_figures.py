"""Figures that a snapshot is made of."""

import pytest

from treeroll import clock
from treeroll.coordinator.figures import Histogram, LoopFigures
from treeroll.coordinator.replica_speed import Speed
from treeroll.core.model.events import LossKind


def test_a_histogram_counts_what_falls_between_its_bounds_and_forgets_only_its_maximum() -> None:
    histogram = Histogram((1.0, 2.0))
    for value in (0.5, 1.0, 1.5, 7.0):
        histogram.add(value)
    told = histogram.take()
    assert (list(told.bounds), list(told.counts), told.sum, told.max) == ([1.0, 2.0], [2, 1, 1], 10.0, 7.0)
    histogram.add(0.25)
    told = histogram.take()
    assert (list(told.counts), told.sum, told.max) == ([3, 1, 1], 10.25, 0.25)


def test_losses_of_a_replica_are_counted_and_the_recent_ones_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    figures, now = LoopFigures(), 0.0
    monkeypatch.setattr(clock, "monotonic", lambda: now)
    monkeypatch.setattr(clock, "wall", lambda: 1000.0 + now)
    for now in (0.0, 500.0, 900.0):
        figures.lost("r1", f"cause at {now:g}", LossKind.DIED)
        figures.lost("r1", "its pool shrinks", LossKind.DRAINED)
    losses = figures.losses["r1"]
    assert (losses.times, losses.since(300.0), losses.wall, losses.cause) == (3, 2, 1900.0, "cause at 900")


def test_a_speed_is_known_after_ten_seconds_and_is_that_of_the_last_two_minutes() -> None:
    speed = Speed(1)
    assert speed.per_s(0.0, 0) is None
    assert speed.per_s(9.0, 900) is None
    assert speed.per_s(10.0, 1000) == 100.0
    for now in range(11, 401):
        last = speed.per_s(float(now), 1000)
    assert last == 0.0
