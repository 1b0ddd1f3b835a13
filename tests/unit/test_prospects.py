"""Whether anything may still come of a run."""

from dataclasses import replace

import pytest

from treeroll.coordinator.prospects import Prospects, nobody_knows
from treeroll.core.model.events import ReplicaJoined, ReplicaLost, RunClosed, RunCreated, TasksSubmitted
from treeroll.core.step import step
from treeroll.pb.v1 import rollout_pb2 as api
from treeroll.simulation.world import World


def world() -> World:
    made = World(tasks=2)
    step(made.state, RunCreated(made.spec), 0.0)
    step(made.state, TasksSubmitted("run", [made._task(n, 0) for n in range(2)]), 0.0)
    return made


@pytest.mark.parametrize(
    ("kept", "ready", "stuck"), [(0, 0, True), (1, 0, False), (None, 0, False), (0, 1, False), (2, 1, False)]
)
def test_without_a_replica_and_without_anybody_who_starts_one_nothing_comes(
    kept: int | None, ready: int, stuck: bool
) -> None:
    made = world()
    for number in range(ready):
        step(made.state, ReplicaJoined(f"r{number}", 1, 4, 16, 4096), 0.0)
    prospects = Prospects(made.state, lambda pool: kept)
    assert prospects.outlook("run").stuck == ("no replica is left, and none is started" if stuck else "")
    record = api.Run(run_id="run")
    prospects.tell_replicas(record)
    assert record.replicas == ready
    starting = record.replicas_starting if record.HasField("replicas_starting") else None
    assert starting == (None if kept is None else max(0, kept - ready))


def test_a_run_that_has_ended_needs_no_replica() -> None:
    made = World(tasks=2)
    made.run()
    for name, incarnation in made.incarnation.items():
        step(made.state, ReplicaLost(name, incarnation, "gone"), made.now)
    assert Prospects(made.state, lambda pool: 0).outlook("run").stuck == ""


def test_one_model_with_replicas_is_enough() -> None:
    made = World(tasks=1, pools={"small": 1, "large": 1})
    step(made.state, RunCreated(replace(made.spec, models=("small", "large"))), 0.0)
    step(made.state, RunClosed("run"), 0.0)
    assert Prospects(made.state, lambda pool: int(pool == "small")).outlook("run").stuck == ""
    assert Prospects(made.state, nobody_knows).outlook("run").stuck == ""
