"""What a trainer can consume: the vector that was worked out by hand, and which of the two inequalities binds."""

from dataclasses import replace

import pytest

from treeroll.autoscale.consumption import Inequality, Trainer, cap

# T 60, R 512, k 1, D 35, L 150, Q 256, mu 10, w 0.1.
TRAINER = Trainer(step_s=60, trees=512, rate=10, flip_s=35, latency_s=150, queued=256, waste=0.1)


def test_the_vector_worked_out_by_hand() -> None:
    assert TRAINER.trees / TRAINER.step_s == pytest.approx(8.53, abs=0.005)
    assert TRAINER.rate * (1 - TRAINER.waste) == pytest.approx(9.0)
    assert TRAINER.keeps_up
    assert TRAINER.age_s == pytest.approx(210.6)
    assert TRAINER.staleness_needed == 5
    assert [replace(TRAINER, staleness=bound).is_fresh for bound in (3, 4, 5)] == [False, False, True]


def test_where_weights_and_trees_alone_take_too_long_no_fleet_is_large_enough() -> None:
    found = cap(replace(TRAINER, staleness=3), 100)
    assert found is not None
    assert found.binds is Inequality.STALENESS
    assert found.because == (
        "weights take 35 s and trees 150 s, of 120 s that max_staleness allows: no fleet is large enough for that"
    )
    assert found.size == 95  # what (i) asks for: 8.53 / 0.9 = 9.48 of 10 trees/s


def test_the_rate_binds_where_trees_are_fresh() -> None:
    found = cap(replace(TRAINER, staleness=8), 100)
    assert found is not None
    assert (found.binds, found.size) == (Inequality.RATE, 95)


def test_staleness_binds_where_the_queue_is_older_than_it_allows() -> None:
    found = cap(replace(TRAINER, staleness=5, queued=1280), 100)  # 55 s are left for it: 23.3 trees/s
    assert found is not None
    assert (found.binds, found.size) == (Inequality.STALENESS, 233)
    assert replace(TRAINER, staleness=5, queued=1280, rate=1280 / 55).is_fresh


def test_a_pause_for_weights_leaves_less_time_for_trees() -> None:
    paused = replace(TRAINER, pause_s=20, every=2)
    assert paused.rate_needed == pytest.approx(512 / 50 / 0.9)
    assert not paused.keeps_up


def test_nothing_is_said_where_nothing_ends() -> None:
    assert cap(replace(TRAINER, rate=0), 100) is None
    assert cap(TRAINER, 0) is None
    assert cap(replace(TRAINER, pause_s=60), 100) is None
    assert cap(replace(TRAINER, waste=1.0), 100) is None
