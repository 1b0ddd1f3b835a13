"""Entries of journals come back as they were written."""

from typing import get_args

import pytest

from treeroll.coordinator.journal_records import entry_of, entry_record, now_of, wall_of
from treeroll.core.model.events import EndKind
from treeroll.core.model.journal import (
    Abstained,
    Asked,
    Carried,
    Cut,
    Ended,
    Entry,
    Faulted,
    Judged,
    Lost,
    Overtaken,
    Planted,
    Reported,
    TimedOut,
)
from treeroll.core.model.run import TaskSpec
from treeroll.pb.v1 import store_pb2 as stored
from treeroll.policy.allocate import TaskView

TASK = TaskSpec("t", 0, "tree", bytes(12), "a prompt", "digest")
ENTRIES: list[Entry] = [
    Planted(7, "r0", "large", 16, 4096, 12.5, 3, 9.5, 2.25, True, True, 8, TaskView("t", "a prompt", 3, 1.5, 2.5, 9)),
    Planted(1, "", "", 1, 1, 0.0),
    Reported(0, 0, EndKind.CREDIT),
    Reported(300, 41),
    Reported(2, 5, EndKind.ERROR, "r1"),
    Lost(0),
    Lost(5, "r1"),
    Cut(1, "budget", "no room"),
    Ended("cancelled", "the run was cancelled", (0, 3, 200)),
    Ended("stale", "too old"),
    Asked(),
    TimedOut(),
    Judged(4, 0.0),
    Judged(4, None),
    Abstained(0),
    Abstained(6),
    Faulted(),
    Overtaken(0),
    Overtaken(9),
    Carried(0),
    Carried(2**40),
]  # fmt: skip


def test_every_kind_is_tried() -> None:
    assert {type(entry) for entry in ENTRIES} == set(get_args(Entry))


@pytest.mark.parametrize("entry", ENTRIES, ids=repr)
def test_an_entry_comes_back_as_it_was(entry: Entry, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("treeroll.clock.monotonic", lambda: 1000.0)
    monkeypatch.setattr("treeroll.clock.wall", lambda: 2.0**31)
    record = stored.JournalEntry.FromString(entry_record(entry, nodes=11))
    assert record.nodes == 11
    assert entry_of(record, TASK) == entry


def test_a_time_is_the_same_moment_on_the_clock_of_another_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("treeroll.clock.monotonic", lambda: 5000.0)
    monkeypatch.setattr("treeroll.clock.wall", lambda: 2.0**31)
    wall = wall_of(4990.0)
    monkeypatch.setattr("treeroll.clock.monotonic", lambda: 7.0)
    monkeypatch.setattr("treeroll.clock.wall", lambda: 2.0**31 + 60.0)
    assert now_of(wall) == 7.0 - 60.0 - 10.0


def test_an_entry_of_a_later_version_is_refused() -> None:
    with pytest.raises(ValueError, match="does not know"):
        entry_of(stored.JournalEntry(nodes=3), TASK)
