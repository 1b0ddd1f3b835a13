"""What the coordinator's end of a replica's session makes of joins that overlap, and of trees that are begun anew."""

import asyncio
from random import Random
from types import SimpleNamespace
from typing import Any

import pytest

from treeroll import __version__
from treeroll.coordinator.replica_server import ReplicaPlane
from treeroll.coordinator.replica_session import ReplicaSession
from treeroll.coordinator.session_marks import Mark, lost_record, marks_of, records
from treeroll.core.model.effects import ForgetTree
from treeroll.core.model.events import ReplicaJoined
from treeroll.errors import StoreDown
from treeroll.pb.v1 import common_pb2 as pb
from treeroll.pb.v1 import replica_pb2 as wire


def forget(tree_id: str) -> ForgetTree:
    return ForgetTree("r0", 1, tree_id)


def start(tree_id: str) -> wire.StartBranch:
    return wire.StartBranch(grant=1, tree_id=tree_id)


def test_what_a_replica_kept_of_a_tree_is_forgotten_before_the_tree_starts_on_it_anew() -> None:
    session = ReplicaSession(wire.Hello())
    session.send(forget("again"))
    session.send(forget("over"))
    session.start(start("again"))
    first, second = session.next_commands(), session.next_commands()
    assert (list(first.forget_trees), len(first.starts)) == (["again"], 0)
    assert (list(second.forget_trees), len(second.starts)) == (["over"], 1)


def test_a_tree_that_ends_while_a_start_of_it_waits_is_forgotten_behind_it() -> None:
    session = ReplicaSession(wire.Hello())
    session.start(start("over"))
    session.send(forget("over"))
    commands = session.next_commands()
    assert (list(commands.forget_trees), len(commands.starts)) == (["over"], 1)


class Refusing:
    """As much of a coordinator as a join needs: it answers when it is told to."""

    def __init__(self) -> None:
        self.builder = SimpleNamespace(logprobs_mode="")
        self.sessions: dict[tuple[str, int], ReplicaSession] = {}
        self.marks: dict[str, Mark] = {}
        self.events: list[ReplicaJoined] = []
        self.answers: list[asyncio.Future[None]] = []

    async def call(self, event: ReplicaJoined, mark: Mark | None) -> None:
        self.events.append(event)
        answer = asyncio.get_running_loop().create_future()
        self.answers.append(answer)
        await answer


async def test_a_join_that_fails_leaves_a_later_one_of_the_same_replica_where_it_is() -> None:
    coordinator: Any = Refusing()
    tokenizer: Any = SimpleNamespace(hash="h", max_model_len=0)
    plane = ReplicaPlane(coordinator, 1.0, tokenizer, Random(1))
    hello = said(incarnation=1, process=0, acked_seq=0)
    early, late = (asyncio.create_task(plane._join(hello)) for _ in range(2))
    await asyncio.sleep(0)
    first, second = coordinator.answers
    first.set_exception(StoreDown("away"))
    with pytest.raises(StoreDown):
        await early
    second.set_result(None)
    assert coordinator.sessions == {("r0", 1): await late}


def said(incarnation: int = 3, process: int = 7, acked_seq: int = 5) -> wire.Hello:
    engine = pb.EngineInfo(slots=1)
    return wire.Hello(
        replica_id="r0",
        incarnation=incarnation,
        process=process,
        acked_seq=acked_seq,
        tokenizer_hash="h",
        engine=engine,
        origin=pb.Origin(version=__version__),
    )


@pytest.mark.parametrize(
    ("hello", "returns", "seen"),
    [
        (said(), True, 5),
        (said(acked_seq=2), True, 5),
        (said(acked_seq=6), False, 5),  # the store has forgotten a report
        (said(incarnation=4), False, 0),
        (said(process=8), False, 0),
    ],
)
async def test_a_session_goes_on_behind_its_last_durable_report_if_it_is_the_one_that_is_stored(
    hello: wire.Hello, returns: bool, seen: int
) -> None:
    coordinator: Any = Refusing()
    coordinator.marks = {"r0": Mark("r0", 3, 7, 5)}
    coordinator.state = SimpleNamespace(orphans=None)
    plane = ReplicaPlane(coordinator, 1.0, SimpleNamespace(hash="h", max_model_len=0), Random(1))  # type: ignore[arg-type]
    joining = asyncio.create_task(plane._join(hello))
    await asyncio.sleep(0)
    coordinator.answers[0].set_result(None)
    session = await joining
    assert (session.seen_seq, session.acked_seq) == (seen, seen)
    assert coordinator.events[0].returns is returns


def test_the_last_report_of_a_session_is_stored_and_nothing_of_one_that_lost_its_lease() -> None:
    replicas: Any = {"r0": SimpleNamespace(incarnation=2), "r1": SimpleNamespace(incarnation=2)}
    marks = [Mark("r0", 2, 7, 8), Mark("r1", 1, 7, 3), Mark("r0", 2, 7, 9), Mark("r2", 1, 7, 1)]
    stored = records(marks, replicas)
    assert marks_of(stored | {"r3": lost_record(1)}) == {"r0": Mark("r0", 2, 7, 9)}
