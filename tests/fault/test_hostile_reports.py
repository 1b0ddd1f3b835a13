"""Whatever bytes a replica sends as reports, the service lives and the other replicas' work goes on."""

import random
from typing import Any

import pytest
from google.protobuf.message import DecodeError

from treeroll import __version__
from treeroll.client import connect_async
from treeroll.demo import MODEL_DIR, TASKS_FILE
from treeroll.generator.config import SimulatedLatency
from treeroll.model.facts import load_facts
from treeroll.pb.v1 import common_pb2 as pb
from treeroll.pb.v1 import replica_pb2 as wire
from treeroll.tasks import read_tasks
from treeroll.testing.service import LocalService, local_service

RUN: dict[str, Any] = {"recipe": "treepo", "leaves": 4, "segment_tokens": 32, "max_depth": 6, "scorer": "arith"}
TASKS, REPORTS = 16, 400
HUGE = 2**32 - 1


def hello(incarnation: int) -> wire.Hello:
    engine = pb.EngineInfo(
        engine="simulated", model="simulated", block_size=32, max_model_len=1024, slots=4, logprobs_mode="processed"
    )
    return wire.Hello(
        replica_id="hostile",
        incarnation=incarnation,
        engine=engine,
        tokenizer_hash=load_facts(MODEL_DIR).hash,
        origin=pb.Origin(version=__version__),
    )


def report(service: LocalService, dice: random.Random, seq: int) -> wire.Report:
    """One segment of a grant that somebody has, about as a replica would say it, and then some bytes of it changed."""
    grants = service.coordinator.state.grants
    grant = dice.choice([0, HUGE, *grants])
    _, branch = grants.get(grant, (None, None))
    ends = branch.boundaries[branch.depth] - branch.position if branch is not None else 1
    tokens = dice.choice([ends, ends, 0, 1, HUGE if dice.random() < 0.1 else 7])
    size = tokens if tokens < 1000 else 1
    node = wire.SegmentNode(
        token_ids=bytes(4 * size), logprobs=bytes(4 * size), weight_versions=[pb.WeightSpan(tokens=size)]
    )
    segment = wire.Segment(
        grant=grant, tokens=tokens, node=node.SerializeToString() if tokens else b"", text="x" * size
    )
    if dice.random() < 0.5:
        segment.end.reason = dice.randint(0, 9)  # type: ignore[assignment]
        segment.end.dropped_tokens = dice.choice([0, 0, 1, 33, HUGE])
    if dice.random() < 0.2:
        segment.cached_tokens = dice.choice([0, 5, HUGE])
    made = bytearray(wire.Report(seq=seq, segments=[segment]).SerializeToString())
    for _ in range(dice.choice([0, 0, 1, 3])):
        made[dice.randrange(len(made))] = dice.randrange(256)
    try:
        return wire.Report.FromString(bytes(made))
    except DecodeError:  # gRPC would have ended the call
        return wire.Report(seq=seq, segments=[segment])


@pytest.mark.parametrize("seed", range(3))
async def test_no_report_ends_the_service_or_the_work_of_others(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("treeroll.core.model.health.RESTS_S", (0.0,))
    dice = random.Random(f"reports-{seed}")
    async with local_service() as service:
        service.start_replica("honest", slots=8, latency=SimulatedLatency(step_s=0.002))
        await service.joined()
        client = await connect_async(service.address)
        run = await client.create_run("run", **RUN)
        await run.submit(read_tasks(TASKS_FILE, limit=TASKS))
        await run.close()
        plane, incarnation, seq = service.replicas, 1, 0
        session = await plane._join(hello(incarnation))
        for _ in range(REPORTS):
            if session.lost or session.seen_seq > seq:  # of a number that it cannot go on from
                incarnation, seq = incarnation + 1, 0
                session = await plane._join(hello(incarnation))
            seq += 1
            await plane._take_report(session, report(service, dice, seq))
            await service.coordinator.call()  # everything before it has been taken
        assert incarnation > 10
        service.lose("hostile", incarnation)
        ended = [one async for batch in run.batches(allow_empty=True) for one in (*batch.trees, *batch.failures)]
        assert len(ended) == TASKS
        assert service.coordinator.state.replicas.keys() == {"honest"}
        assert (await run.status()).ledger.outstanding == 0
        assert (await client.audit()).violations == []
