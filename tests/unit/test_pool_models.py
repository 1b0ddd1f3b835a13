"""Which model a pool is, step by step in the core: who says it, who is refused, and when another one may come."""

from dataclasses import replace
from typing import Any

import pytest

from treeroll.coordinator.pool_models import restored, stored
from treeroll.core.model.effects import Effect, PersistModel, PersistWeights
from treeroll.core.model.events import (
    ReplicaJoined,
    ReplicaLost,
    RunCancelled,
    RunCreated,
    RunDeleted,
    WeightsPublished,
    WeightsReported,
)
from treeroll.core.model.pool_model import PoolModel
from treeroll.core.model.state import CoreSettings, State
from treeroll.core.model.weights import Phase, Weights, WeightsAnswer
from treeroll.core.step import step
from treeroll.errors import InvalidInput
from treeroll.policies import registry
from treeroll.policy.base import Limits
from treeroll.simulation.world import World

CONTEXT = 1024
OURS = PoolModel("d1", "vllm", CONTEXT, "/models/qwen", "a", "gpu-1")
OTHER = replace(OURS, digest="d2", replica_id="b", host="gpu-2")


class Fleet:
    """The core, with replicas of some model."""

    def __init__(self) -> None:
        placement = registry.build("placement", "least_loaded", {}, Limits(1, 1, 1, 1))
        self.state = State(CoreSettings(placement))
        self.spec = World(tasks=1).spec

    @property
    def model(self) -> PoolModel | None:
        return self.state.pools[""].model

    def do(self, event: Any) -> list[Effect]:
        return step(self.state, event, self.state.now)

    def join(self, model: PoolModel, incarnation: int = 1, **said: Any) -> list[Effect]:
        context = model.context
        return self.do(ReplicaJoined(model.replica_id, incarnation, 4, 16, context, serves=model, **said))

    def lose(self, model: PoolModel, incarnation: int = 1) -> None:
        self.do(ReplicaLost(model.replica_id, incarnation, "killed"))

    def create(self, *names: str) -> None:
        for name in names:
            self.do(RunCreated(replace(self.spec, run_id=name)))

    def refused(self, model: PoolModel) -> str:
        before = self.model
        with pytest.raises(InvalidInput) as error:
            self.join(model)
        assert self.model == before
        assert model.replica_id not in self.state.replicas or model.replica_id == OURS.replica_id
        return str(error.value)


def kinds(effects: list[Effect]) -> list[type]:
    return [type(effect) for effect in effects if isinstance(effect, PersistModel | PersistWeights)]


def test_the_first_replica_says_what_its_pool_is_and_that_is_stored_once() -> None:
    fleet = Fleet()
    assert kinds(fleet.join(OURS)) == [PersistModel]
    assert fleet.model == OURS
    assert kinds(fleet.join(replace(OURS, replica_id="b", path="/mnt/qwen"))) == []
    assert fleet.model == OURS
    assert restored(stored(fleet.state.pools[""])) == OURS


def test_another_model_is_refused_beside_replicas_of_the_first() -> None:
    fleet = Fleet()
    fleet.join(OURS)
    assert fleet.refused(OTHER) == (
        "replica b on gpu-2 serves /models/qwen with digest d2, but the fleet has /models/qwen with digest d1, as "
        "replica a on gpu-1: copy the same model to both, or end the other replicas of the pool before this one joins"
    )


def test_another_model_is_refused_while_a_run_grows_with_the_first_and_the_runs_are_named() -> None:
    fleet = Fleet()
    fleet.join(OURS)
    fleet.create("one")
    fleet.lose(OURS)
    said = fleet.refused(OTHER)
    assert said.endswith(
        "but the fleet has /models/qwen with digest d1, as replica a on gpu-1 said, which run 'one' grows with: start "
        "replicas with that model, or cancel or delete this run to have another one"
    )
    fleet.create("two", "three", "four")
    assert "which runs 'four' and 'one' and 'three' and 1 more grow with: start" in fleet.refused(OTHER)
    for name in ("one", "two", "three", "four"):
        fleet.do(RunCancelled(name))
    assert kinds(fleet.join(OTHER)) == [PersistModel, PersistWeights]
    assert fleet.model == OTHER
    assert "with digest d1, but the fleet has /models/qwen with digest d2" in fleet.refused(OURS)


def test_a_replica_that_comes_again_with_another_model_is_another() -> None:
    fleet = Fleet()
    fleet.join(OURS)
    fleet.create("one")
    with pytest.raises(InvalidInput, match="which run 'one' grows with"):
        fleet.join(replace(OURS, digest="d2"), incarnation=2)
    assert fleet.state.replicas["a"].incarnation == 1
    fleet.do(RunCancelled("one"))
    fleet.join(replace(OURS, digest="d2"), incarnation=2)
    assert fleet.model == replace(OURS, digest="d2")


def test_a_run_that_is_suspended_holds_its_pools_until_it_is_deleted() -> None:
    fleet = Fleet()
    fleet.join(OURS)
    fleet.lose(OURS)
    fleet.state.suspended = {"late": ("", "large"), "elsewhere": ("large",)}
    assert "which run 'late' grows with" in fleet.refused(OTHER)
    fleet.do(RunDeleted("late"))
    fleet.state.suspended["unread"] = ()
    assert "which run 'unread' grows with" in fleet.refused(OTHER)
    fleet.do(RunDeleted("unread"))
    fleet.join(OTHER)
    assert fleet.model == OTHER


def test_tokens_of_a_simulated_engine_are_not_those_of_the_model_that_it_has() -> None:
    fleet = Fleet()
    fleet.join(OURS)
    said = fleet.refused(replace(OURS, engine="simulated", replica_id="b"))
    assert "serves /models/qwen with digest d1 on engine simulated, but the fleet has" in said
    assert "with digest d1 on engine vllm, as replica a" in said


def test_a_shorter_context_is_refused_while_runs_grow_with_the_longer_one() -> None:
    fleet = Fleet()
    fleet.join(OURS)
    fleet.create("one")
    fleet.lose(OURS)
    longer, short = replace(OURS, context=2 * CONTEXT), replace(OURS, context=CONTEXT - 1)
    assert fleet.refused(short) == (
        "replica a on gpu-1 has a context of 1023 tokens, but the fleet has had 1024, which run 'one' grows with: set "
        "generator.max_model_len to that, or cancel or delete this run"
    )
    assert kinds(fleet.join(longer, incarnation=2)) == [PersistModel]
    assert fleet.model == longer
    fleet.lose(longer, incarnation=2)
    fleet.refused(replace(OURS, replica_id="c"))
    fleet.do(RunCancelled("one"))
    fleet.join(replace(short, replica_id="c"))
    assert fleet.model == replace(short, replica_id="c")


def test_weights_that_were_published_for_one_model_are_none_of_another() -> None:
    fleet = Fleet()
    fleet.join(OURS)
    fleet.do(WeightsPublished("", 3, "/w/3", "", wall=1000.0))
    for answer in (WeightsAnswer.STAGED, WeightsAnswer.LOADED):
        fleet.do(WeightsReported("a", 1, 3, answer, "d", 0.5, ""))
    pool = fleet.state.pools[""]
    assert pool.weights.current.version == 3
    fleet.do(WeightsPublished("", 4, "/w/4", "", wall=1001.0))
    fleet.lose(OURS)
    with pytest.raises(InvalidInput, match="holds weights version 3"):
        fleet.join(OTHER, weight_version=3, weight_digest="d")
    assert fleet.model == OURS
    fleet.join(OTHER)
    assert pool.weights.current == Weights()
    assert pool.ready == ["b"]
    assert pool.weights.publication is None
    refused = pool.weights.history[-1]
    assert (refused.phase, refused.weights.version) == (Phase.REFUSED, 4)
    assert "the pool has another model now, /models/qwen with digest d2" in refused.error


def test_the_same_model_keeps_what_was_published_for_it() -> None:
    fleet = Fleet()
    fleet.join(OURS)
    fleet.do(WeightsPublished("", 3, "/w/3", "", wall=1000.0))
    for answer in (WeightsAnswer.STAGED, WeightsAnswer.LOADED):
        fleet.do(WeightsReported("a", 1, 3, answer, "d", 0.5, ""))
    fleet.lose(OURS)
    fleet.join(replace(OURS, replica_id="b"))
    assert fleet.state.pools[""].weights.current.version == 3
    assert fleet.state.replicas["b"].lags
