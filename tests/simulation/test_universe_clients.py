"""What clients of worlds do when calls are refused: a client that is wrong breaks promises that the service keeps."""

from typing import Any

import grpc
import pytest
from google.protobuf.message import Message

from treeroll.errors import Drained
from treeroll.pb.v1 import rollout_pb2 as api
from treeroll.simulation.universe import clients, trainer
from treeroll.simulation.universe.clients import Submitter
from treeroll.simulation.universe.faults import Faults
from treeroll.simulation.universe.ranks import Rank
from treeroll.simulation.universe.requests import Request
from treeroll.simulation.universe.search import Case, simulate
from treeroll.simulation.universe.surroundings import Aborted
from treeroll.simulation.universe.universe import Universe
from treeroll.simulation.universe.work import Work


class Asked:
    """A call that nobody answers but the test."""

    def __init__(self, universe: Universe, method: str, message: Message, answered: Any) -> None:
        self.over = False
        self.method, self.answered = method, answered
        universe.asked.append(self)  # type: ignore[attr-defined]

    def forsake(self) -> None:
        self.over = True


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> Universe:
    """A world whose clients ask `world.asked`."""
    monkeypatch.setattr(clients, "Request", Asked)
    world = Case(1, Faults()).universe()
    world.asked = []  # type: ignore[attr-defined]
    return world


def pass_time(world: Universe) -> None:
    while world.events.run(1):
        pass


def refusal(kind: type[Exception]) -> Aborted:
    return Aborted(grpc.StatusCode.FAILED_PRECONDITION, "no", kind)  # type: ignore[arg-type]


def test_a_submitter_that_a_drain_refused_does_not_go_on_twice_where_everything_is_submitted_again(
    world: Universe,
) -> None:
    submitter = Submitter(world, "{}", list(world.wanted.values()))
    asked: list[Asked] = world.asked  # type: ignore[attr-defined]
    asked[0].answered(api.Run(), None)
    asked[1].answered(None, refusal(Drained))  # it waits, to ask again
    submitter.again()
    pass_time(world)
    assert [one.method for one in asked] == ["CreateRun", "SubmitTasks", "CreateRun"]


def test_a_submitter_that_a_drain_refused_asks_again(world: Universe) -> None:
    Submitter(world, "{}", list(world.wanted.values()))
    asked: list[Asked] = world.asked  # type: ignore[attr-defined]
    asked[0].answered(api.Run(), None)
    asked[1].answered(None, refusal(Drained))
    pass_time(world)
    assert [one.method for one in asked] == ["CreateRun", "SubmitTasks", "SubmitTasks"]


@pytest.mark.parametrize("moved", [False, True])
def test_a_trainer_rests_once_its_run_is_exhausted_unless_its_group_was_moved_back_meanwhile(
    monkeypatch: pytest.MonkeyPatch, moved: bool
) -> None:
    """Seed 308991: the answer to its last call was on its way, and nobody asked for what came again."""
    monkeypatch.setattr(trainer, "Request", Asked)
    world = Case(1, Faults(), Work(keep_finished_s=15.0)).universe()
    world.asked = []  # type: ignore[attr-defined]
    one = trainer.Trainer(world, "trainer9", "run")
    asked: list[Asked] = world.asked  # type: ignore[attr-defined]
    if moved:
        one.wake()
    asked[0].answered(api.LeaseTreesReply(exhausted=True).SerializeToString(), None)
    assert one.rests != moved


def test_what_was_asked_before_a_loss_was_told_of_does_nothing_once_its_client_has_begun_anew(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Seed 304715: a CloseRun that was late closed the run that had been created again, empty."""
    world = Case(1, Faults()).universe()
    monkeypatch.setattr(world.succession, "called", lambda: pytest.fail("it arrives"))
    Request(world, "CloseRun", api.CloseRunRequest(run_id="run"), lambda got, error: None).forsake()
    pass_time(world)


def test_a_run_that_is_deleted_before_its_loss_was_told_of_is_not_what_is_looked_at_in_the_end() -> None:
    """Seed 304623: trees that were grown again were held against those of before."""
    world = Case(1, Faults()).universe()
    world.store._runs[world.spec.run_id] = b""
    world.succession.untold = True
    world.deletes(world.spec.run_id)
    assert not world.deleted
    world.succession.untold = False
    world.deletes(world.spec.run_id)
    assert world.deleted


def test_a_world_is_not_over_before_its_ranks_have_begun(monkeypatch: pytest.MonkeyPatch) -> None:
    lease = Rank._lease
    begun: list[Rank] = []

    def begin_late(rank: Rank) -> None:
        if rank in begun:
            lease(rank)
        else:
            begun.append(rank)
            rank._universe.after(60.0, lease, rank)

    monkeypatch.setattr(Rank, "_lease", begin_late)
    outcome = simulate(Case(1, Faults(), Work(ranks=True)))
    assert not outcome.broken, str(outcome.broken[0])
