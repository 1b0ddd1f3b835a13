"""A process that stood still for longer than its patience asks again, and a busy service is no absent one."""

import asyncio
from typing import Any

import grpc
import grpc.aio
import pytest

from treeroll.client.channel import CONNECT_S, PATIENCE_S, SILENT_S, Channel
from treeroll.errors import Unavailable
from treeroll.pb.v1 import rollout_pb2

HOUR_S = 3600.0


class Stub:
    """Answers late: the clock goes on by as much as each call has left, and by the next of these times."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *stood_still_s: float) -> None:
        self.calls = 0
        self._times = list(stood_still_s)
        self._ahead_s = 0.0
        loop = asyncio.get_running_loop()
        real = loop.time
        monkeypatch.setattr(loop, "time", lambda: real() + self._ahead_s)

    async def GetService(self, request: Any, timeout: float, metadata: Any) -> rollout_pb2.ServiceStatus:  # noqa: ASYNC109
        self.calls += 1
        if self._times:
            self._ahead_s += timeout + self._times.pop(0)
            raise grpc.aio.AioRpcError(grpc.StatusCode.DEADLINE_EXCEEDED, grpc.aio.Metadata(), grpc.aio.Metadata())
        return rollout_pb2.ServiceStatus()


async def asked(stub: Stub, extra_s: float) -> None:
    channel = Channel("localhost:1")
    channel._stubs = [stub]
    try:
        await channel.call("GetService", rollout_pb2.GetServiceRequest(), rollout_pb2.ServiceStatus, extra_s=extra_s)
    finally:
        await channel.close()


@pytest.mark.parametrize("extra_s", [0.0, 10.0])
async def test_a_call_that_stood_still_is_made_again_each_time(monkeypatch: pytest.MonkeyPatch, extra_s: float) -> None:
    stub = Stub(monkeypatch, HOUR_S, 6.0, PATIENCE_S)
    await asked(stub, extra_s)
    assert stub.calls == 4


async def test_a_service_that_does_not_answer_is_given_up_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    stub = Stub(monkeypatch, 0.0, 0.0)
    with pytest.raises(Unavailable, match="nobody answers at localhost:1 in time for GetService"):
        await asked(stub, 0.0)
    assert stub.calls == 1


async def connected(stub: Any, **limits: float) -> None:
    channel = Channel("localhost:1", **limits)
    channel._stubs = [stub]
    try:
        await channel.connect()
    finally:
        await channel.close()


async def test_who_connects_waits_longer_for_a_service_that_is_slow_than_for_one_that_refuses(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    slow = Stub(monkeypatch, 0.0, 0.0, 0.0)
    await connected(slow)
    assert slow.calls == 4
    silent = Stub(monkeypatch, *[0.0] * 100)
    with pytest.raises(Unavailable, match="nobody answers at localhost:1 in time for GetService"):
        await connected(silent)
    assert 1 < silent.calls <= SILENT_S / CONNECT_S + 1


async def test_what_the_service_said_last_is_told_when_the_last_try_had_no_time_left(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Starting(Stub):
        async def GetService(self, request: Any, timeout: float, metadata: Any) -> rollout_pb2.ServiceStatus:  # noqa: ASYNC109
            if self.calls:
                return await super().GetService(request, timeout, metadata)
            self.calls += 1
            named = grpc.aio.Metadata(("treeroll-error", "Unavailable"))
            raise grpc.aio.AioRpcError(grpc.StatusCode.UNAVAILABLE, grpc.aio.Metadata(), named, "it is still starting")

    with pytest.raises(Unavailable, match=r"^it is still starting; GetService was repeated for "):
        await connected(Starting(monkeypatch, 0.0), timeout_s=1.0)
