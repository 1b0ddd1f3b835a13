"""What is known of tasks from earlier epochs."""

import pytest

from treeroll.core.model.history import Decay, History, Record
from treeroll.errors import InvalidInput


def test_results_count_less_with_every_epoch() -> None:
    history = History(Decay(0.5))
    history.add("t", 0, successes=4, scored=8, tokens=800)
    assert history.of("t", 0) == (4.0, 8.0, 800.0)
    assert history.of("t", 2) == (1.0, 2.0, 200.0)
    history.add("t", 1, successes=1, scored=1, tokens=50)
    assert history.of("t", 1) == (3.0, 5.0, 450.0)


def test_results_count_less_with_every_version_of_weights_too() -> None:
    history = History(Decay(0.5, 0.9))
    history.add("t", 0, successes=4, scored=8, tokens=800, version=10)
    assert history.of("t", 0, version=12) == pytest.approx((4 * 0.81, 8 * 0.81, 800 * 0.81))
    assert history.of("t", 1, version=11) == pytest.approx((1.8, 3.6, 360.0))
    record = history.add("t", 0, 0, 1, 100, version=9)  # it grew under older ones, and ends late
    assert (record.version, record.scored) == (10, 9.0)


def test_a_task_that_nobody_knows_has_no_history() -> None:
    assert History().of("t", 3) == (0.0, 0.0, 0.0)


def test_a_tree_of_an_earlier_epoch_that_ends_late_counts_now() -> None:
    history = History(Decay(0.5))
    history.add("t", 2, 1, 2, 30)
    assert history.add("t", 0, 1, 1, 20) == Record(2.0, 3.0, 2, 50.0)


def test_records_come_back_from_the_store_as_they_were() -> None:
    record = Record(1 / 3, 2.5, 7, 1e3 / 3, 12)
    assert Record.read(record.written()) == record


def test_a_record_without_tokens_is_read_too() -> None:
    assert Record.read("0.5 2.0 3") == Record(0.5, 2.0, 3, 0.0)


def test_a_run_takes_over_the_history_of_another_one_as_an_epoch_ago() -> None:
    stored = {"a": Record(4, 8, 1, 80).written(), "b": Record(2, 2, 0, 40).written()}
    history = History.taken_over(stored, Decay(0.5), "history_from: run 'x'")
    assert history.of("a", 0) == (2.0, 4.0, 40.0)
    assert history.of("b", 0) == (0.5, 0.5, 10.0)


def test_a_run_without_history_is_refused() -> None:
    with pytest.raises(InvalidInput, match="run 'x': it has no success history"):
        History.taken_over({}, Decay(), "history_from: run 'x'")
