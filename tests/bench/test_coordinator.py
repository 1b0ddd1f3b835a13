"""`treeroll bench coordinator` on tiny sizes: what it sends is the protocol, and its figures are right in kind."""

import asyncio
from typing import Any

import grpc
import numpy as np
import pytest

from treeroll.bench.coordinator import Point, Workload, measure, points
from treeroll.bench.latency import Latencies, percentiles
from treeroll.bench.load_messages import SegmentBytes, frame, report_bytes
from treeroll.bench.load_replica import LoadReplica
from treeroll.errors import InvalidInput, TreerollError
from treeroll.pb.v1 import common_pb2 as pb
from treeroll.pb.v1 import replica_pb2 as wire


def test_reports_made_of_bytes_are_reports() -> None:
    parts = SegmentBytes()
    frames = [
        frame(parts.first_head(1 << 40, 97, has_completion=True), parts.bodies(64)[0]),
        frame(parts.head(2), parts.bodies(32, wire.END_REASON_EOS)[1]),
        frame(parts.head(3), parts.bodies(0, wire.END_REASON_STOPPED)[0]),
    ]
    report = wire.ReplicaMessage.FromString(report_bytes(300, frames)).report
    first, second, third = report.segments
    assert report.seq == 300
    assert (first.grant, first.cached_tokens, first.tokens, len(first.text), len(first.tail)) == (
        1 << 40, 96, 64, 256, 256,
    )  # fmt: skip
    assert (second.grant, second.tokens, second.end.reason) == (2, 32, wire.END_REASON_EOS)
    assert not second.HasField("cached_tokens")
    assert (third.tokens, third.end.reason) == (0, wire.END_REASON_STOPPED)
    node = pb.Node.FromString(first.node)
    assert len(node.token_ids) == len(node.logprobs) == 4 * 64
    assert sum(span.tokens for span in node.weight_versions) == 64
    assert first.logprob_sum == pytest.approx(np.frombuffer(node.logprobs, "<f4").sum())
    assert not third.node


class ScriptedCall:
    """The coordinator's side of a session: what it says is given, what it hears is kept."""

    def __init__(self, says: list[wire.CoordinatorMessage]) -> None:
        self._says = says
        self.heard: list[wire.ReplicaMessage] = []

    async def write(self, message: Any) -> None:
        self.heard.append(
            message if isinstance(message, wire.ReplicaMessage) else wire.ReplicaMessage.FromString(message)
        )

    async def read(self) -> Any:
        return self._says.pop(0) if self._says else grpc.aio.EOF

    async def details(self) -> str:
        return "the script has ended"


def test_a_load_replica_reports_its_branches_in_turn() -> None:
    starts = [
        wire.StartBranch(grant=n, prefix_tokens=33, prompt_tokens=33, boundaries=[97, 161, 225]) for n in (1, 2, 3)
    ]
    welcome = wire.CoordinatorMessage(welcome=wire.Welcome(run_ahead=2, heartbeat_s=1))
    call = ScriptedCall([welcome, wire.CoordinatorMessage(commands=wire.Commands(starts=starts))])
    replica = LoadReplica(
        "r", slots=4, block_size=32, max_model_len=1024, most=2, in_flight=3, end_share=0.0, parts=SegmentBytes(),
        latencies=Latencies(),
    )  # fmt: skip

    async def session() -> None:
        await replica.join(lambda: call)
        await replica.run()

    with pytest.raises(TreerollError, match="the script has ended"):
        asyncio.run(session())
    reports = [[segment.grant for segment in message.report.segments] for message in call.heard[1:]]
    assert reports == [[1, 2], [3, 1], [2, 3]]


def test_percentiles_count_a_message_as_often_as_it_has_segments() -> None:
    figures = percentiles([(0.001, 98), (0.005, 1), (0.009, 1)])
    assert figures == {"p50_ms": 1.0, "p99_ms": 5.0, "max_ms": 9.0}
    assert percentiles([]) == {}


def test_an_acknowledgement_covers_all_messages_before_it() -> None:
    latencies = Latencies()
    track = latencies.track()
    for seq in (1, 2, 3):
        track.sent(seq, float(seq), 10)
    assert track.acknowledged(2, 4.0) == 20
    assert len(track) == 1
    assert latencies.cut()["max_ms"] == 3000.0
    assert latencies.cut() == {}


def test_points_are_all_combinations() -> None:
    found = points("1000,10_000", "1", "everysec,always")
    assert found[0] == Point(1000, 1, "everysec")
    assert len(found) == 4
    for wrong in (("x", "1", "always"), ("1", "0", "always"), ("1", "1", "never")):
        with pytest.raises(InvalidInput, match="--"):
            points(*wrong)


@pytest.mark.slow
@pytest.mark.timing
@pytest.mark.parametrize("secured", [False, True])
async def test_it_measures_what_the_coordinator_acknowledges(secured: bool) -> None:
    notes: list[str] = []
    work = Workload(seconds=1.0, rewrite=True, rate=500.0, secured=secured)
    result = await measure([Point(200, 2, "everysec")], work, 1, notes.append)
    figures: Any = result.rounds["200 nodes 2 replicas everysec"][0]
    assert figures["segments_s"] > 0
    assert figures["half_segments_s"] > 0
    assert 0 < figures["half_p50_ms"] <= figures["half_p99_ms"]
    assert 0 < figures["busy"] <= 2.5
    assert 0 < figures["segments_per_report"] <= 64
    assert figures["rewrite_p99_ms"] > 0
    assert len(notes) == 1
