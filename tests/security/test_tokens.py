"""Every method of every service refuses every call whose token is not for it. Methods are those of the protos."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest
from tests.support.access import Credentials, bearer
from tests.support.eventually import eventually
from tests.support.ports import free_port

from treeroll.access import methods
from treeroll.access.identity import Role
from treeroll.access.methods import MAY_CALL, by_path
from treeroll.access.token_file import new_token, remove, sha256
from treeroll.channels import Pass, open_channel
from treeroll.client import connect_async
from treeroll.config import CoordinatorConfig
from treeroll.demo import MODEL_DIR
from treeroll.errors import InvalidInput, NotAllowed, NotAuthenticated, TreerollError
from treeroll.generator.detokenizer import Detokenizer
from treeroll.generator.replica import Replica
from treeroll.generator.session import SessionRefused
from treeroll.generator.simulated_engine import SimulatedEngine
from treeroll.pb.v1 import fleet_pb2, replica_pb2, rollout_pb2
from treeroll.store.memory import MemoryStore
from treeroll.testing.service import LocalService, local_service

REFUSED = {grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.PERMISSION_DENIED}
PATHS = [
    (f"/{service.full_name}/{method.name}", method.client_streaming)
    for file in (rollout_pb2, replica_pb2, fleet_pb2)
    for service in file.DESCRIPTOR.services_by_name.values()
    for method in service.methods
]
OF_VIEWERS = {"GetService", "GetRun", "GetTree", "GetWeights"}
NOT_OF_CLIENTS = {"Audit", "Drain", "Undrain", "DrainReplicas", "ScalePool", "Session", "Report"}


async def answer(channel: grpc.aio.Channel, path: str, metadata: Any, streaming: bool = False) -> grpc.StatusCode:
    """How a call with an empty request ends."""
    try:
        if streaming:
            call: Any = channel.stream_stream(path)(iter(()), metadata=metadata)
            with_no_message = [message async for message in call]
            assert not with_no_message
        else:
            ask: Any = channel.unary_unary(path)
            await ask(b"", metadata=metadata)
    except grpc.aio.AioRpcError as error:
        return error.code()
    return grpc.StatusCode.OK


async def refused(channel: grpc.aio.Channel, metadata: Any) -> dict[str, grpc.StatusCode]:
    """Names of the methods that refuse a call, with how."""
    ends = {path: await answer(channel, path, metadata, streaming) for path, streaming in PATHS}
    return {path.rpartition("/")[2]: code for path, code in ends.items() if code in REFUSED}


@pytest.fixture
async def service(credentials: Credentials) -> AsyncIterator[LocalService]:
    credentials.token("operator", "ops")
    async with local_service(access=credentials.config()) as service:
        yield service


@pytest.fixture
async def channel(service: LocalService) -> AsyncIterator[grpc.aio.Channel]:
    async with open_channel(service.address) as channel:
        yield channel


def nothing(credentials: Credentials) -> Any:
    return ()


def no_bearer(credentials: Credentials) -> Any:
    return (("authorization", credentials.token("operator", "a")),)


def another_scheme(credentials: Credentials) -> Any:
    return (("authorization", f"Basic {credentials.token('operator', 'a')}"),)


def an_empty_token(credentials: Credentials) -> Any:
    return bearer("")


def an_unknown_token(credentials: Credentials) -> Any:
    return bearer(new_token())


def the_hash_of_a_token(credentials: Credentials) -> Any:
    return bearer(sha256(credentials.token("operator", "a")))


def an_expired_token(credentials: Credentials) -> Any:
    return bearer(credentials.token("operator", "a", "2001-01-01"))


def a_revoked_token(credentials: Credentials) -> Any:
    token = credentials.token("operator", "gone")
    remove(credentials.tokens, "gone")
    return bearer(token)


BAD = [
    nothing,
    no_bearer,
    another_scheme,
    an_empty_token,
    an_unknown_token,
    the_hash_of_a_token,
    an_expired_token,
    a_revoked_token,
]


@pytest.mark.parametrize("bad", BAD, ids=lambda bad: bad.__name__)
async def test_every_method_refuses_a_call_with(bad: Any, credentials: Credentials, channel: grpc.aio.Channel) -> None:
    found = await refused(channel, bad(credentials))
    assert found == {path.rpartition("/")[2]: grpc.StatusCode.UNAUTHENTICATED for path, _ in PATHS}


@pytest.mark.parametrize("role", Role)
async def test_every_method_refuses_roles_that_it_is_not_for(
    role: Role, credentials: Credentials, channel: grpc.aio.Channel
) -> None:
    found = await refused(channel, bearer(credentials.token(role, "a", "publish")))
    names = {path.rpartition("/")[2] for path, _ in PATHS}
    may = {
        Role.CLIENT: names - NOT_OF_CLIENTS,
        Role.VIEWER: OF_VIEWERS,
        Role.OPERATOR: names - {"Session", "Report"},
        Role.REPLICA: {"Session", "Report"},
    }
    assert set(found) == names - may[role]
    assert set(found.values()) <= {grpc.StatusCode.PERMISSION_DENIED}


async def test_health_is_open_for_a_check_and_nothing_else(credentials: Credentials, channel: grpc.aio.Channel) -> None:
    assert await answer(channel, "/grpc.health.v1.Health/Check", ()) is grpc.StatusCode.OK
    assert await answer(channel, "/grpc.health.v1.Health/Watch", ()) is grpc.StatusCode.UNAUTHENTICATED
    operator = bearer(credentials.token("operator", "a"))
    assert await answer(channel, "/grpc.health.v1.Health/Watch", operator) is grpc.StatusCode.PERMISSION_DENIED


async def test_what_nobody_serves_is_refused_to_all(credentials: Credentials, channel: grpc.aio.Channel) -> None:
    for path in ("/treeroll.v1.Rollouts/Nothing", "/x/y", "/"):
        assert await answer(channel, path, ()) is grpc.StatusCode.UNAUTHENTICATED
        operator = bearer(credentials.token("operator", "a"))
        assert await answer(channel, path, operator) is grpc.StatusCode.PERMISSION_DENIED


def test_a_method_without_a_row_or_a_row_without_a_method_does_not_start() -> None:
    assert {path for path, _ in PATHS} == set(MAY_CALL)
    less = {name: dict(row) for name, row in methods.ROLES.items()}
    del less["Rollouts"]["CancelRun"]
    with pytest.raises(RuntimeError, match="CancelRun"):
        by_path(less, rollout_pb2, replica_pb2, fleet_pb2)
    more = {name: dict(row) for name, row in methods.ROLES.items()}
    more["ReplicaPlane"]["Shell"] = frozenset(Role)
    with pytest.raises(RuntimeError, match="Shell"):
        by_path(more, rollout_pb2, replica_pb2, fleet_pb2)


async def test_clients_get_typed_errors_that_say_what_to_do(credentials: Credentials, service: LocalService) -> None:
    with pytest.raises(NotAuthenticated, match="TREEROLL_TOKEN"):
        await connect_async(service.address)
    with pytest.raises(NotAuthenticated, match="'a' expired at 2001-01-01"):
        await connect_async(service.address, token=credentials.token("client", "a", "2001-01-01"))
    async with await connect_async(service.address, token=credentials.token("client", "a")) as client:
        with pytest.raises(NotAllowed, match="Drain is not for a token with role client"):
            await client.drain()
        with pytest.raises(NotAllowed, match="--publish"):
            await client.publish_weights("/nowhere", 1)


async def test_the_token_of_the_environment_is_shown(
    credentials: Credentials, service: LocalService, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TREEROLL_TOKEN", credentials.token("viewer", "a"))
    async with await connect_async(service.address) as client:
        assert not (await client.status()).replicas


async def test_the_token_may_lie_in_a_file_which_is_named_when_it_has_none(
    credentials: Credentials, service: LocalService, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file = tmp_path / "token"
    monkeypatch.setenv("TREEROLL_TOKEN_FILE", str(file))
    with pytest.raises(InvalidInput, match=f"TREEROLL_TOKEN_FILE is {file}, which cannot be read: No such file"):
        await connect_async(service.address)
    for content, complaint in ((b"\n", "which is empty"), ("tökén".encode(), "characters that no token has")):
        file.write_bytes(content)
        with pytest.raises(InvalidInput, match=complaint):
            await connect_async(service.address)
    file.write_text(credentials.token("viewer", "a") + "\n")
    async with await connect_async(service.address) as client:
        assert not (await client.status()).replicas


async def test_changes_of_the_token_file_are_in_force_at_the_next_call(
    credentials: Credentials, service: LocalService
) -> None:
    token = credentials.token("client", "late")
    async with await connect_async(service.address, token=token) as client:
        await client.status()
        credentials.tokens.rename(credentials.directory / "away")
        await client.status()  # what was read last is in force
        (credentials.directory / "away").rename(credentials.tokens)
        credentials.tokens.write_text(credentials.tokens.read_text() + "client\nclient b notahash\n")
        await client.status()  # and so are the lines beside a broken one
        remove(credentials.tokens, "late")
        with pytest.raises(NotAuthenticated):
            await client.status()


@pytest.mark.parametrize("how", ["revoked", "expired", "of another role"])
async def test_a_call_that_waits_ends_when_its_token_is(
    how: str, credentials: Credentials, service: LocalService, channel: grpc.aio.Channel
) -> None:
    token, lasting = credentials.token("client", "late"), credentials.token("client", "stays")
    calls = []
    for name, shown in (("late", token), ("stays", lasting)):
        async with await connect_async(service.address, token=shown) as client:
            await client.create_run(name, recipe="flat", leaves=2, segment_tokens=8, max_depth=1)
        ask: Any = channel.unary_unary("/treeroll.v1.Rollouts/LeaseTrees")
        request = rollout_pb2.LeaseTreesRequest(
            run_id=name, group="g", consumer="c", max_trees=1, lease_s=60, wait_s=60
        )
        calls.append(ask(request.SerializeToString(), metadata=bearer(shown)))
    asked: asyncio.Future[Any] = asyncio.ensure_future(calls[0])

    async def both_wait() -> bool:  # a group is made by its first call
        return all([await service.store.group_names(run_id) for run_id in ("late", "stays")])

    await eventually(both_wait)
    end_token(credentials, how)
    with pytest.raises(grpc.aio.AioRpcError) as refusal:
        await asked
    assert refusal.value.code() is grpc.StatusCode.UNAUTHENTICATED
    assert "the token of 'late' was revoked or changed while the call was under way" in (refusal.value.details() or "")
    assert not calls[1].done()
    calls[1].cancel()


def end_token(credentials: Credentials, how: str) -> None:
    """The token of 'late' is none from here on, or not the same."""
    lines = credentials.tokens.read_text().splitlines()
    [late] = [line for line in lines if " late " in line]
    instead = {"revoked": "", "expired": f"{late} 2001-01-01", "of another role": late.replace("client", "viewer", 1)}
    credentials.tokens.write_text("\n".join([line for line in lines if line != late] + [instead[how]]) + "\n")


async def test_the_session_of_a_replica_ends_when_its_token_does(
    credentials: Credentials, service: LocalService
) -> None:
    token = credentials.token("replica", "late")
    service.admit = lambda replica_id: Pass(token)
    session = service.start_replica("late")
    await service.joined()
    remove(credentials.tokens, "late")
    with pytest.raises(SessionRefused, match="the token of 'late' was revoked or changed"):
        await session


async def test_broken_lines_are_named_by_number_and_their_words_are_not_told(
    credentials: Credentials, caplog: pytest.LogCaptureFixture
) -> None:
    token = credentials.token("operator", "ops")
    lines = ["# a comment", "", "operator ops not-a-hash", f"client b {token}", "chief c " + sha256("c")]
    credentials.tokens.write_text(credentials.tokens.read_text() + "\n".join(lines) + "\n")
    async with (
        local_service(access=credentials.config()) as service,
        await connect_async(service.address, token=token) as client,
    ):
        await client.status()
    assert [f"line {number} is no token" in caplog.text for number in range(2, 9)] == [0, 0, 0, 1, 1, 1, 0]
    assert token not in caplog.text


async def test_a_file_without_any_token_does_not_start(credentials: Credentials) -> None:
    for content in ("", "client a\n"):
        credentials.tokens.write_text(content)
        with pytest.raises(InvalidInput, match="has no token; `treeroll token make`"):
            async with local_service(access=credentials.config()):
                pass
    credentials.tokens.unlink()
    with pytest.raises(InvalidInput, match="cannot be read: No such file"):
        async with local_service(access=credentials.config()):
            pass


async def test_a_replica_joins_with_its_own_token_and_trees_grow(
    credentials: Credentials, service: LocalService
) -> None:
    service.start_replica("r0")
    await service.joined()
    async with await connect_async(service.address, token=credentials.token("client", "a")) as client:
        run = await client.create_run("run", recipe="flat", leaves=2, segment_tokens=8, max_depth=1)
        await run.submit([{"prompt": "2+2="}])
        await run.close()
        async with run.batches(trees=1) as batches:
            assert [len(batch.trees) async for batch in batches] == [1]


async def test_nobody_is_a_replica_with_the_token_of_another(service: LocalService) -> None:
    known = service.start_replica("r0")
    admit, service.admit = service.admit, lambda replica_id: admit("r1")
    await service.joined()
    taker = service.start_replica("r0", incarnation=2**62)
    with pytest.raises(TreerollError, match="the token of 'r1' is not for replica 'r0'") as refusal:
        await taker
    assert isinstance(refusal.value, SessionRefused)
    assert service.coordinator.state.replicas["r0"].incarnation == 1
    assert not known.done()


async def test_a_token_of_the_file_is_for_all_replicas_of_a_fleet_and_for_no_others(
    credentials: Credentials, service: LocalService
) -> None:
    token = credentials.token("replica", "fleet-b", "replicas=b-")
    service.admit = lambda replica_id: Pass(token)
    for name in ("b-0", "b-1", "fleet-b"):
        service.start_replica(name)
    await service.joined()
    with pytest.raises(SessionRefused, match="the token of 'fleet-b' is not for replica 'c-0'"):
        await service.start_replica("c-0")


async def test_a_replica_with_a_token_of_the_file_outlives_the_coordinator_and_joins_the_next_one(
    credentials: Credentials,
) -> None:
    token, store = credentials.token("replica", "fleet-b", "replicas=b-"), KeptStore()
    settings = CoordinatorConfig(port=free_port(), heartbeat_s=0.2)
    async with local_service(store, settings, access=credentials.config()) as first:
        engine = SimulatedEngine(Detokenizer(MODEL_DIR).tokenizer, slots=4, max_model_len=1024)
        replica = Replica(engine, Detokenizer(MODEL_DIR), "b-0", 1, first.address, "", Pass(token))
        living = asyncio.create_task(replica.run(), name="b-0")
        await eventually(lambda: knows(first, "b-0"))
    async with local_service(store, settings, access=credentials.config()) as second:
        await eventually(lambda: knows(second, "b-0"))
        assert second.coordinator.epoch > first.coordinator.epoch
        assert not living.done()
    living.cancel()
    await asyncio.gather(living, return_exceptions=True)


class KeptStore(MemoryStore):
    """A store that outlives its service."""

    async def close(self) -> None:
        """It goes on."""


async def knows(service: LocalService, replica_id: str) -> bool:
    return replica_id in service.coordinator.state.replicas


async def test_a_new_start_of_a_replica_takes_the_token_of_the_last_one_away(service: LocalService) -> None:
    first = service.admit("r0")
    service.admit("r0")
    service.admit, admit = (lambda replica_id: first), service.admit
    with pytest.raises(SessionRefused, match="was revoked"):
        await service.start_replica("r0")
    service.admit = admit
    service.start_replica("r0")
    await service.joined()


def test_no_text_of_a_pass_shows_its_token() -> None:
    assert "secret" not in repr(Pass("secret")) + str(Pass("secret"))
