"""What the coordinator's end of a replica's session makes of joins that overlap, and of trees that are begun anew."""

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from treeroll.coordinator.replica_server import ReplicaPlane
from treeroll.coordinator.replica_session import ReplicaSession
from treeroll.core.model.effects import ForgetTree
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
        self.sessions: dict[tuple[str, int], ReplicaSession] = {}
        self.answers: list[asyncio.Future[None]] = []

    async def call(self, event: Any) -> None:
        answer = asyncio.get_running_loop().create_future()
        self.answers.append(answer)
        await answer


async def test_a_join_that_fails_leaves_a_later_one_of_the_same_replica_where_it_is() -> None:
    coordinator: Any = Refusing()
    tokenizer: Any = SimpleNamespace(hash="h", max_model_len=0)
    plane = ReplicaPlane(coordinator, 1.0, tokenizer)
    hello = wire.Hello(replica_id="r0", incarnation=1, tokenizer_hash="h", engine=pb.EngineInfo(slots=1))
    early, late = (asyncio.create_task(plane._join(hello)) for _ in range(2))
    await asyncio.sleep(0)
    first, second = coordinator.answers
    first.set_exception(StoreDown("away"))
    with pytest.raises(StoreDown):
        await early
    second.set_result(None)
    assert coordinator.sessions == {("r0", 1): await late}
