"""What a report changes in a run's figures is durable with it: acknowledged is nothing that the store's run lacks."""

from typing import Any

import pytest

from treeroll.coordinator.records import run_record
from treeroll.core.model.effects import (
    Effect,
    PersistEntry,
    PersistNode,
    PersistReward,
    PersistRun,
    PersistTasks,
    PersistTree,
)
from treeroll.core.model.events import EndKind, Event, RunCancelled, SegmentReported
from treeroll.core.step import step
from treeroll.simulation.world import World

# Those with which a commit writes the run's record, see `coordinator/persist.py`.
WITH_ITS_RUN = (PersistNode, PersistEntry, PersistReward, PersistTree, PersistTasks, PersistRun)


class Accounted(World):
    """Looks at every report: whether it changed the run's record, and whether that would be written."""

    without_a_node = 0

    def _feed(self, event: Event) -> None:
        if not isinstance(event, SegmentReported):
            super()._feed(event)
            return
        run = next(iter(self.state.runs.values()))
        before = run_record(run).SerializeToString()
        effects: list[Effect] = step(self.state, event, self.now)
        if run_record(run).SerializeToString() != before:
            assert any(isinstance(effect, WITH_ITS_RUN) for effect in effects), event
            self.without_a_node += not any(isinstance(effect, PersistNode) for effect in effects)
        for effect in effects:
            self._perform(effect)
        self._audit()


@pytest.mark.parametrize(
    "choice",
    [
        {"recipe": "flat"},
        {"recipe": "treepo"},
        {"recipe": "treepo", "overrides": {"segment": {"hold": True}}},
        {"recipe": "treerl", "leaves": 30},
        {"recipe": "deepsearch", "overrides": {"branch": {"width": 2, "terminals": 4}}},
    ],
    ids=str,
)
@pytest.mark.parametrize("kill_share", [0.0, 0.02])
def test_no_report_changes_the_run_without_writing_it(choice: dict[str, Any], kill_share: float) -> None:
    world = Accounted(seed=3, replicas=3, slots=4, kill_share=kill_share, **choice)
    world.run()
    assert world.finished


def begun(**choice: Any) -> Accounted:
    """A world in which branches run."""
    world = Accounted(seed=3, replicas=3, slots=4, **choice)
    world.start()
    for _ in range(20):
        assert world.go_on()
    return world


def test_what_branches_report_that_are_being_stopped_is_written() -> None:
    world = begun(overruns=True)
    world.without_a_node = 0
    world._feed(RunCancelled("run"))
    while world.go_on():
        pass
    assert world.without_a_node


@pytest.mark.parametrize("end", [EndKind.ERROR, EndKind.CREDIT])
@pytest.mark.parametrize("dropped", [0, 3])
def test_an_end_alone_is_written(end: EndKind, dropped: int) -> None:
    world = begun()
    world.without_a_node = 0
    # Of a grant that has made something: no other may end by itself.
    grants = world.state.grants
    grant = next(grant for grant, (live, branch) in grants.items() if live.tree.nodes[branch.tip].grant == grant)
    origin = grants[grant][1].origin
    report = SegmentReported(origin.replica_id, origin.incarnation, grant, 0, 0.0, 0.0, "", "", b"")
    report.end, report.dropped_tokens, report.error = end, dropped, "the engine failed"
    world._feed(report)
    assert world.without_a_node or not dropped
