"""Input that is none, or too much of it, is refused in one sentence, at once, and leaves no traceback in the log."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import suppress
from random import Random
from typing import Any

import grpc
import pytest
from tests.support.access import Credentials, bearer

from treeroll import __version__
from treeroll.access.requests import LARGEST, LARGEST_OF
from treeroll.channels import open_channel
from treeroll.client import connect_async
from treeroll.coordinator.admission import MOST_NAMED
from treeroll.coordinator.audit import AuditReport
from treeroll.core.model.fleet import QUARANTINED
from treeroll.demo import MODEL_DIR
from treeroll.errors import InvalidInput, TooManyCalls
from treeroll.generator.session import SessionRefused
from treeroll.model.facts import load_facts
from treeroll.pb.v1 import common_pb2 as pb
from treeroll.pb.v1 import replica_pb2 as wire
from treeroll.pb.v1 import rollout_pb2 as api
from treeroll.plain_json import MOST_DEPTH, loads
from treeroll.testing.service import LocalService, local_service
from treeroll.tokenizer import CHARS_PER_TOKEN

METHODS = api.DESCRIPTOR.services_by_name["Rollouts"].methods_by_name
RUN: dict[str, Any] = {"recipe": "flat", "leaves": 2, "segment_tokens": 8, "max_depth": 1}


@pytest.fixture
async def service() -> AsyncIterator[LocalService]:
    async with local_service() as service:
        yield service


async def sent(channel: grpc.aio.Channel, name: str, raw: bytes) -> tuple[grpc.StatusCode, str]:
    ask: Any = channel.unary_unary(f"/treeroll.v1.Rollouts/{name}")
    try:
        await ask(raw)
    except grpc.aio.AioRpcError as error:
        return error.code(), error.details() or ""
    return grpc.StatusCode.OK, ""


async def test_bytes_that_are_no_message_are_invalid_to_every_method(
    service: LocalService, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    chance = Random(7)
    async with open_channel(service.address) as channel:
        for name, method in METHODS.items():
            broken = b"\xff" + chance.randbytes(40)  # a field of wire type 7, which there is none of
            code, said = await sent(channel, name, broken)
            assert code is grpc.StatusCode.INVALID_ARGUMENT, (method.full_name, said)
            assert said == f"{name}: the request cannot be read: its bytes are no such message"
    assert "Traceback" not in caplog.text
    assert "Exception" not in caplog.text


def hello(**other: Any) -> wire.ReplicaMessage:
    engine = pb.EngineInfo(
        engine="simulated", model="simulated", block_size=32, max_model_len=1024, slots=4, logprobs_mode="processed"
    )
    known = wire.Hello(
        replica_id="r0",
        incarnation=1,
        engine=engine,
        tokenizer_hash=load_facts(MODEL_DIR).hash,
        process=1,
        origin=pb.Origin(version=__version__),
    )
    known.MergeFrom(wire.Hello(**other))
    return wire.ReplicaMessage(hello=known)


async def session(channel: grpc.aio.Channel, *messages: bytes) -> tuple[grpc.StatusCode, str]:
    """How a replica's call ends that sends these."""
    call: Any = channel.stream_stream("/treeroll.v1.ReplicaPlane/Session")()
    for message in messages:
        await call.write(message)
    with suppress(grpc.aio.AioRpcError):
        while await call.read() is not grpc.aio.EOF:
            pass
    return await call.code(), await call.details()


async def test_a_session_that_begins_with_no_message_is_invalid(
    service: LocalService, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    async with open_channel(service.address) as channel:
        for begins in (b"\xff" * 9, b"", wire.ReplicaMessage(heartbeat=wire.Heartbeat()).SerializeToString()):
            code, said = await session(channel, begins)
            assert code is grpc.StatusCode.INVALID_ARGUMENT
            assert said == "the first message of a session must be hello"
    assert "Traceback" not in caplog.text


async def test_a_replica_that_sends_no_messages_is_quarantined_with_the_reason(
    service: LocalService, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    async with open_channel(service.address) as channel:
        code, said = await session(channel, hello().SerializeToString(), b"\xff" * 9)
        assert code is grpc.StatusCode.ABORTED
        assert "replica r0 sent bytes that are no message" in said
    health = service.coordinator.state.health["r0"]
    assert health.standing is QUARANTINED
    assert "Traceback" not in caplog.text


@pytest.mark.parametrize(
    ("what", "sentence"),
    [
        ({"engine": pb.EngineInfo(slots=2**32 - 1)}, "may have up to 65536"),
        ({"live_grants": range(MOST_NAMED + 1)}, "names more than 100000 grants or trees"),
        ({"kept_trees": ["t"] * (MOST_NAMED + 1)}, "names more than 100000 grants or trees"),
        ({"weight_digest": "x" * (LARGEST_OF["Session"] + 1)}, "must be hello"),
    ],
    ids=lambda what: next(iter(what)) if isinstance(what, dict) else "",
)
async def test_a_hello_is_within_bounds(what: dict[str, Any], sentence: str, service: LocalService) -> None:
    async with open_channel(service.address) as channel:
        code, said = await session(channel, hello(**what).SerializeToString())
    assert (code, sentence in said) == (grpc.StatusCode.INVALID_ARGUMENT, True), said


async def test_a_session_without_a_word_ends(service: LocalService, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("treeroll.coordinator.replica_server.HELLO_S", 0.05)
    async with open_channel(service.address) as channel:
        assert await session(channel) == (
            grpc.StatusCode.DEADLINE_EXCEEDED,
            "no hello came, which is how a session begins",
        )


async def test_a_request_has_a_largest_size_by_method(service: LocalService) -> None:
    async with open_channel(service.address) as channel:
        for name in METHODS:
            most = LARGEST_OF.get(name, LARGEST)
            code, said = await sent(channel, name, bytes(most + 1))
            assert code is grpc.StatusCode.INVALID_ARGUMENT
            assert said == f"{name}: the request has {most + 1:,} bytes, and may have {most:,}"


@pytest.mark.parametrize("depth", [MOST_DEPTH + 1, 5_000, 100_000])
async def test_json_is_nested_so_deep_and_no_deeper(depth: int, service: LocalService) -> None:
    assert loads("[" * MOST_DEPTH + "]" * MOST_DEPTH) is not None
    deep = '{"a":' * depth + "1" + "}" * depth
    with pytest.raises(ValueError, match="nested more than 64 deep"):
        loads(deep)
    client = await connect_async(service.address)
    if depth < 40_000:  # a configuration may not be longer either
        request = api.CreateRunRequest(run_id="run", config_json=deep)
        with pytest.raises(InvalidInput, match="is not JSON: it is nested more than 64 deep"):
            await client._channel.call("CreateRun", request, api.Run)
    await client.create_run("run", **RUN)
    for task in (
        api.Task(task_id="t", text="1", extra_json=deep),
        api.Task(task_id="t", messages_json=deep),
    ):
        request = api.SubmitTasksRequest(run_id="run", tasks=[task])
        with pytest.raises(InvalidInput, match=r"nested more than 64 deep|the prompt has 100,000 characters"):
            await client._channel.call("SubmitTasks", request, api.SubmitTasksReply)
    await client.close()


@pytest.mark.parametrize("kind", ["text", "ids", "messages"])
async def test_a_prompt_that_cannot_fit_is_refused_before_it_is_tokenised(
    kind: str, service: LocalService, monkeypatch: pytest.MonkeyPatch
) -> None:
    def nobody(*_: Any) -> None:
        raise AssertionError("it was tokenised")

    async with await connect_async(service.address) as client:
        run = await client.create_run("run", **RUN)
        context = service.tokenizer.max_model_len
        for name in ("encode_text", "_tell_lost", "decode"):
            monkeypatch.setattr(type(service.tokenizer), name, nobody)
        long = "1+" * (CHARS_PER_TOKEN * context)
        task: dict[str, Any] = {
            "text": {"prompt": long},
            "ids": {"prompt_ids": [1] * context},
            "messages": {"messages": [{"role": "user", "content": long}]},
        }[kind]
        said = f"{context} tokens, the model's context is" if kind == "ids" else "characters, and the model's context"
        with pytest.raises(InvalidInput, match=said):
            await run.submit([task])


@pytest.mark.parametrize("name", ["", "r0\nINFO a line", "r0\x1b[31m", "a" * 65, "r 0"])
async def test_a_replicas_name_is_a_name(name: str, service: LocalService) -> None:
    with pytest.raises(SessionRefused, match="must be 1 to 64 of letters"):
        await service.start_replica(name)


async def test_one_identity_has_so_many_calls_under_way_and_others_go_on(credentials: Credentials) -> None:
    alice, bob = credentials.token("client", "alice"), credentials.token("client", "bob")
    access = credentials.config().model_copy(update={"calls": 4})
    async with (
        local_service(access=access) as service,
        await connect_async(service.address, token=bob) as other,
        open_channel(service.address) as channel,
    ):
        async with await connect_async(service.address, token=alice) as client:
            await client.create_run("run", **RUN)
        ask: Any = channel.unary_unary("/treeroll.v1.Rollouts/LeaseTrees")
        waiting = api.LeaseTreesRequest(run_id="run", group="g", consumer="c", max_trees=1, lease_s=60, wait_s=60)
        calls = [ask(waiting.SerializeToString(), metadata=bearer(alice)) for _ in range(4)]
        ended, _ = await asyncio.wait(map(asyncio.ensure_future, calls), return_when=asyncio.FIRST_COMPLETED)
        with pytest.raises(grpc.aio.AioRpcError) as refusal:
            await ended.pop()
        assert refusal.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert dict(refusal.value.trailing_metadata())["treeroll-error"] == TooManyCalls.__name__
        assert "'alice' has 3 calls that wait for trees" in (refusal.value.details() or "")
        await other.status()
        async with await connect_async(service.address, token=alice) as client:  # the fourth is not one that waits
            await client.status()
        for call in calls:
            call.cancel()


async def test_of_many_audits_one_is_made_at_a_time(service: LocalService, monkeypatch: pytest.MonkeyPatch) -> None:
    at_once, most, made = 0, 0, 0

    async def audit(*_: Any) -> AuditReport:
        nonlocal at_once, most, made
        at_once, made = at_once + 1, made + 1
        most = max(most, at_once)
        await asyncio.sleep(0)
        at_once -= 1
        return AuditReport()

    monkeypatch.setattr("treeroll.coordinator.api.audit_elsewhere", audit)
    async with await connect_async(service.address) as client:
        await asyncio.gather(*(client.audit() for _ in range(20)))
    assert (made, most) == (20, 1)


async def test_clients_repeat_a_call_that_is_one_too_many_in_a_second(credentials: Credentials) -> None:
    alice = credentials.token("client", "alice")
    access = credentials.config().model_copy(update={"calls_per_s": 4})
    async with local_service(access=access) as service, open_channel(service.address) as channel:
        ask: Any = channel.unary_unary("/treeroll.v1.Rollouts/GetService")
        found = await asyncio.gather(*(ask(b"", metadata=bearer(alice)) for _ in range(40)), return_exceptions=True)
        refused = [one for one in found if isinstance(one, grpc.aio.AioRpcError)]
        assert {one.code() for one in refused} == {grpc.StatusCode.RESOURCE_EXHAUSTED}
        assert {one.details() for one in refused} == {
            "'alice' makes more than 4 calls a second; see access.calls_per_s of the service"
        }
        async with await connect_async(service.address, token=alice) as client:
            for _ in range(8):
                await client.status()
