"""Garbage of the coordinator goes a little at a time."""

import gc
import weakref

import pytest

from treeroll.coordinator.gc_tuning import EVENTS, YoungCollector
from treeroll.core.model.branch import Branch
from treeroll.tree.node import BranchReason, Decision, Node


class Knot:
    """Garbage that only a collector finds."""

    def __init__(self) -> None:
        self.itself = self


@pytest.fixture
def _only_ours():
    gc.disable()
    yield
    gc.enable()


@pytest.mark.usefixtures("_only_ours")
def test_new_garbage_is_collected_after_so_many_events_and_not_before() -> None:
    collector = YoungCollector()
    collector.took(EVENTS)
    knot = weakref.ref(Knot())
    collector.took(EVENTS - 1)
    assert knot() is not None
    collector.took(1)
    assert knot() is None


@pytest.mark.usefixtures("_only_ours")
def test_what_has_been_seen_once_is_not_walked_again() -> None:
    collector = YoungCollector()
    old = Knot()
    gc.collect()
    known = weakref.ref(old)
    del old
    collector.took(EVENTS)
    assert known() is not None
    gc.collect()
    assert known() is None


@pytest.mark.parametrize(
    "made",
    [Node(1, 0, 0, 1, 5, 64), Branch(1, 0, 5, 0, 0.0, 0, BranchReason.FORK, Decision.BOUNDARY, [69])],
    ids=["node", "branch"],
)
def test_what_there_are_millions_of_is_never_walked(made: object) -> None:
    assert not gc.is_tracked(made)
