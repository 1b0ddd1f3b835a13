"""What becomes of a publication of weights, step by step in the core: orders, refusals, limits, late joiners."""

import pytest

from treeroll.core.model.effects import DropReplica, Effect, FlipWeights, PersistWeights, StageWeights
from treeroll.core.model.events import ReplicaJoined, ReplicaLost, Ticked, WeightsPublished, WeightsReported
from treeroll.core.model.state import CoreSettings, State
from treeroll.core.model.weights import Phase, PoolWeights, WeightsAnswer
from treeroll.core.step import step
from treeroll.errors import (
    InvalidInput,
    PublicationBusy,
    TreerollError,
    UnknownPool,
    VersionTooOld,
    WeightsConflict,
)
from treeroll.policies import registry
from treeroll.policy.base import Limits

STAGED, LOADED, REFUSED = WeightsAnswer.STAGED, WeightsAnswer.LOADED, WeightsAnswer.REFUSED


class Fleet:
    """The core with replicas that answer when a test says so."""

    def __init__(self, *replicas: str) -> None:
        placement = registry.build("placement", "least_loaded", {}, Limits(1, 1, 1, 1))
        self.state = State(CoreSettings(placement, stage_s=60.0, load_s=30.0))
        self.incarnation = dict.fromkeys(replicas, 0)
        for name in replicas:
            self.join(name)

    @property
    def weights(self) -> PoolWeights:
        return self.state.pools[""].weights

    def join(self, name: str, version: int = 0, again: bool = False, digest: str = "") -> list[Effect]:
        self.incarnation[name] = self.incarnation.get(name, 0) + (not again)
        joined = ReplicaJoined(name, self.incarnation[name], 4, 16, 1024, weight_version=version, weight_digest=digest)
        return step(self.state, joined, self.state.now)

    def publish(self, version: int, path: str | None = None, digest: str = "", pool: str = "") -> list[Effect]:
        where = f"/w/{version}" if path is None else path
        return step(self.state, WeightsPublished(pool, version, where, digest, wall=1000.0), self.state.now)

    def says(self, name: str, version: int, answer: WeightsAnswer, digest: str = "d", error: str = "") -> list[Effect]:
        report = WeightsReported(name, self.incarnation[name], version, answer, digest, 0.5, error)
        return step(self.state, report, self.state.now)

    def tick(self, seconds: float) -> list[Effect]:
        now = self.state.now + seconds
        for replica in self.state.replicas.values():
            replica.heard_at = now
        return step(self.state, Ticked(), now)

    def lose(self, name: str) -> list[Effect]:
        return step(self.state, ReplicaLost(name, self.incarnation[name], "killed"), self.state.now)

    def at_work(self) -> list[str]:
        return self.state.pools[""].ready


def orders(effects: list[Effect]) -> list[tuple[str, str, int]]:
    said = []
    for effect in effects:
        if isinstance(effect, StageWeights):
            said.append((effect.replica_id, "stage", effect.weights.version))
        elif isinstance(effect, FlipWeights):
            said.append((effect.replica_id, "flip", effect.version))
    return said


def test_a_version_is_staged_by_all_then_in_force_for_all_at_once_then_done() -> None:
    fleet = Fleet("a", "b")
    effects = fleet.publish(3)
    assert isinstance(effects[0], PersistWeights)
    assert orders(effects) == [("a", "stage", 3), ("b", "stage", 3)]
    assert orders(fleet.says("a", 3, STAGED)) == []
    assert fleet.at_work() == ["a", "b"]
    assert orders(fleet.says("b", 3, STAGED)) == [("a", "flip", 3), ("b", "flip", 3)]
    assert fleet.weights.current.version == 3
    assert fleet.at_work() == []
    fleet.says("b", 3, LOADED)
    assert fleet.at_work() == ["b"]
    assert fleet.weights.publication is not None
    fleet.says("a", 3, LOADED)
    assert fleet.at_work() == ["a", "b"]
    assert fleet.weights.publication is None
    assert [(one.weights.version, one.phase) for one in fleet.weights.history] == [(3, Phase.DONE)]


def test_one_refusal_refuses_the_version_and_changes_nothing() -> None:
    fleet = Fleet("a", "b")
    fleet.publish(3)
    fleet.says("a", 3, STAGED)
    fleet.says("b", 3, REFUSED, error="/w/3/model.safetensors lacks model.norm.weight")
    [ended] = fleet.weights.history
    assert ended.phase is Phase.REFUSED
    assert "replica b refuses it: /w/3/model.safetensors lacks model.norm.weight" in ended.error
    assert fleet.weights.current.version == 0
    assert fleet.at_work() == ["a", "b"]
    assert orders(fleet.publish(3, "/w/3-mended")) == [("a", "stage", 3), ("b", "stage", 3)]


def test_an_answer_to_a_refused_attempt_does_not_count_for_the_next_one() -> None:
    fleet = Fleet("a", "b")
    fleet.publish(3)
    fleet.says("b", 3, REFUSED, error="it is torn")
    assert orders(fleet.publish(3)) == [("b", "stage", 3)]  # a has not answered yet
    assert orders(fleet.says("a", 3, STAGED, digest="of what was there before")) == [("a", "stage", 3)]
    fleet.says("b", 3, STAGED, digest="good")
    assert orders(fleet.says("a", 3, STAGED, digest="good")) == [("a", "flip", 3), ("b", "flip", 3)]


@pytest.mark.parametrize("given", ["", "right"])
def test_replicas_that_read_different_content_refuse_a_version(given: str) -> None:
    fleet = Fleet("a", "b")
    fleet.publish(3, digest=given)
    fleet.says("a", 3, STAGED, digest="right")
    fleet.says("b", 3, STAGED, digest="wrong")
    assert "replica b refuses it: /w/3 has digest wrong, not right" in fleet.weights.history[-1].error
    assert fleet.weights.current.version == 0


@pytest.mark.parametrize(
    ("version", "path", "digest", "pool", "error"),
    [
        (5, "/w/5", "d", "", None),
        (5, "/w/5", "", "", None),
        (5, "/elsewhere", "d", "", None),
        (5, "/w/5", "other", "", WeightsConflict),
        (5, "/elsewhere", "", "", WeightsConflict),
        (4, "/w/4", "", "", VersionTooOld),
        (0, "/w/0", "", "", InvalidInput),
        (6, "w/6", "", "", InvalidInput),
        (6, "/w/6", "", "nobody", UnknownPool),
    ],
)
def test_what_is_published_again_is_the_same_or_refused_by_name(
    version: int, path: str, digest: str, pool: str, error: type[TreerollError] | None
) -> None:
    fleet = Fleet("a")
    for answer in ("publish", STAGED, LOADED):
        fleet.publish(5) if answer == "publish" else fleet.says("a", 5, WeightsAnswer(answer))
    if error is None:
        assert fleet.publish(version, path, digest, pool) == []
    else:
        with pytest.raises(error):
            fleet.publish(version, path, digest, pool)
    assert fleet.weights.current.version == 5
    assert fleet.weights.publication is None


def test_a_version_while_another_is_on_its_way_is_refused_by_name_and_the_same_again_is_no_other() -> None:
    fleet = Fleet("a")
    fleet.publish(5)
    with pytest.raises(PublicationBusy, match=r"version 6 .* cannot be published: version 5 is still staging"):
        fleet.publish(6)
    assert fleet.publish(5) == []


def test_a_late_joiner_gets_no_work_before_it_has_what_is_in_force() -> None:
    fleet = Fleet("a")
    fleet.publish(5)
    fleet.says("a", 5, STAGED)
    fleet.says("a", 5, LOADED)
    assert orders(fleet.join("late")) == [("late", "stage", 5)]
    assert fleet.at_work() == ["a"]
    assert orders(fleet.says("late", 5, STAGED)) == [("late", "flip", 5)]
    assert fleet.at_work() == ["a"]
    fleet.says("late", 5, LOADED)
    assert fleet.at_work() == ["a", "late"]


def test_a_replica_that_comes_while_weights_do_holds_up_neither_them_nor_the_next_ones() -> None:
    fleet = Fleet("a")
    fleet.publish(5)
    fleet.says("a", 5, STAGED)
    assert orders(fleet.join("late")) == [("late", "stage", 5)]
    fleet.says("a", 5, LOADED)
    assert fleet.weights.history[-1].phase is Phase.DONE
    assert orders(fleet.publish(6)) == [("a", "stage", 6)]
    assert orders(fleet.says("a", 6, STAGED)) == [("a", "flip", 6)]
    assert orders(fleet.says("late", 5, STAGED)) == [("late", "stage", 6)]
    fleet.says("a", 6, LOADED)
    assert fleet.weights.history[-1].weights.version == 6
    assert fleet.at_work() == ["a"]
    assert orders(fleet.says("late", 6, STAGED)) == [("late", "flip", 6)]
    fleet.says("late", 6, LOADED)
    assert fleet.at_work() == ["a", "late"]


def test_weights_that_nobody_has_loaded_are_not_done_when_their_replicas_have_gone() -> None:
    fleet = Fleet("a")
    fleet.publish(5)
    fleet.says("a", 5, STAGED)
    fleet.join("late")
    fleet.lose("a")
    assert fleet.weights.publication is not None
    fleet.says("late", 5, STAGED)
    fleet.says("late", 5, LOADED)
    assert fleet.weights.history[-1].phase is Phase.DONE


def test_a_replica_that_dies_while_weights_are_on_their_way_holds_nobody_up() -> None:
    fleet = Fleet("a", "b")
    fleet.publish(5)
    fleet.says("a", 5, STAGED)
    assert orders(fleet.lose("b")) == [("a", "flip", 5)]
    assert orders(fleet.join("b")) == [("b", "stage", 5)]
    fleet.says("a", 5, LOADED)
    fleet.lose("b")
    assert fleet.weights.history[-1].phase is Phase.DONE


def test_after_a_reconnect_a_replica_is_told_again_what_it_has_not_done() -> None:
    fleet = Fleet("a")
    fleet.publish(5)
    assert orders(fleet.join("a", again=True)) == [("a", "stage", 5)]
    fleet.says("a", 5, STAGED)
    assert orders(fleet.join("a", again=True)) == [("a", "stage", 5)]
    fleet.says("a", 5, STAGED)
    assert orders(fleet.join("a", version=5, again=True, digest="d")) == []  # it had loaded, and nobody heard it
    assert fleet.at_work() == ["a"]
    assert fleet.weights.history[-1].phase is Phase.DONE


@pytest.mark.parametrize(("version", "digest"), [(7, "d"), (5, "other")])
def test_a_replica_with_weights_that_its_pool_never_had_is_refused(version: int, digest: str) -> None:
    fleet = Fleet("a")
    fleet.publish(5)
    fleet.says("a", 5, STAGED)
    fleet.says("a", 5, LOADED)
    with pytest.raises(InvalidInput, match=f"replica b holds weights version {version}"):
        fleet.join("b", version, digest=digest)


def test_a_replica_that_cannot_take_what_is_in_force_is_lost() -> None:
    fleet = Fleet("a")
    fleet.publish(5)
    fleet.says("a", 5, STAGED)
    fleet.says("a", 5, LOADED)
    fleet.join("late")
    [dropped] = fleet.says("late", 5, REFUSED, error="/w/5 is gone")
    assert isinstance(dropped, DropReplica)
    assert "it cannot take weights version 5, which is in force: /w/5 is gone" in dropped.cause
    assert fleet.weights.current.version == 5


def test_a_version_that_is_not_staged_in_time_is_refused() -> None:
    fleet = Fleet("a", "b")
    fleet.publish(5)
    fleet.says("a", 5, STAGED)
    fleet.tick(59)
    assert fleet.weights.publication is not None
    fleet.tick(2)
    assert "replica b: it has not staged weights version 5 within 60 s" in fleet.weights.history[-1].error
    assert fleet.at_work() == ["a", "b"]


def test_without_a_replica_a_version_is_refused_in_time() -> None:
    fleet = Fleet()
    fleet.publish(5)
    fleet.tick(61)
    assert "no replica was ready to stage it within 60 s" in fleet.weights.history[-1].error


def test_a_replica_that_does_not_load_in_time_is_lost_and_the_others_go_on() -> None:
    fleet = Fleet("a", "b")
    fleet.publish(5)
    fleet.says("a", 5, STAGED)
    fleet.says("b", 5, STAGED)
    fleet.says("a", 5, LOADED)
    [dropped] = [effect for effect in fleet.tick(31) if isinstance(effect, DropReplica)]
    assert (dropped.replica_id, dropped.cause) == ("b", "it has not loaded weights version 5 within 30 s")
    assert fleet.weights.history[-1].phase is Phase.DONE
