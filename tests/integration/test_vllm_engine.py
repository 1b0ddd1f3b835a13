"""Real vLLM replicas in Ray actors and a fake coordinator. One fleet of two serves all tests; the deaths come last."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import numpy as np
import pytest
import pytest_asyncio
from prometheus_client.parser import text_string_to_metric_families
from tests.support.fake_coordinator import FakeCoordinator, Told
from tests.support.processes import engines_below
from tests.support.promtool import promtool

from treeroll.bench.collector import Collector
from treeroll.demo import MODEL_DIR
from treeroll.generator.config import GeneratorConfig
from treeroll.generator.detokenizer import Detokenizer
from treeroll.generator.exporter_config import ExporterConfig
from treeroll.generator.ray_local import LocalRay
from treeroll.generator.supervisor import Supervisor
from treeroll.metrics.catalogue import REPLICA_CATALOGUE
from treeroll.pb.v1 import replica_pb2 as wire
from treeroll.tracing import names

pytestmark = [pytest.mark.vllm, pytest.mark.slow, pytest.mark.timeout(1500), pytest.mark.asyncio(loop_scope="module")]

TOKENIZER = Detokenizer(MODEL_DIR).tokenizer
PROMPT = TOKENIZER.encode("Compute 839*47+512-66*71.\n").ids
AHEAD = [65, 97, 129, 161, 193, 225]
RUN_AHEAD = len(AHEAD) + 2
"""More segments than a branch of these tests has, so that none ends early where acknowledgements come late."""
START_TIMEOUT_S = 900.0
VLLM_NAMES = {
    f"vllm:{name}"
    for name in (
        "kv_cache_usage_perc",
        "num_requests_running",
        "num_requests_waiting",
        "num_preemptions_total",
        "prefix_cache_queries_total",
        "prefix_cache_hits_total",
        "generation_tokens_total",
    )
}


@dataclass
class Fleet:
    coordinator: FakeCoordinator
    supervisor: Supervisor
    lost: list[tuple[str, int]]
    first_words: dict[str, list[list[int]]]
    """What each replica sampled first after its start, from the same prompt."""


@pytest.fixture(scope="module")
def ray_cluster() -> Iterator[None]:
    with LocalRay(2):
        yield


@pytest.fixture(scope="module")
def collector() -> Iterator[Collector]:
    with Collector(keep=True) as collector:
        yield collector


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def fleet(ray_cluster: None, collector: Collector) -> AsyncIterator[Fleet]:
    lost: list[tuple[str, int]] = []
    watched = {"metrics": ExporterConfig(port=0), "tracing_endpoint": collector.endpoint}
    config = GeneratorConfig(replicas=2, slots=32, kv_cache_gib=0.25, health_interval_s=1.0, **watched)
    async with FakeCoordinator(run_ahead=RUN_AHEAD) as coordinator:
        supervisor = Supervisor(
            config, coordinator.address, lambda name, incarnation, cause: lost.append((name, incarnation))
        )
        task = asyncio.create_task(supervisor.run())
        await asyncio.wait_for(supervisor.wait_ready(), START_TIMEOUT_S)
        words = {name: await first_words(coordinator, name) for name in ("r0", "r1")}
        yield Fleet(coordinator, supervisor, lost, words)
        await supervisor.stop()
        await task


async def first_words(coordinator: FakeCoordinator, replica: str) -> list[list[int]]:
    grants = coordinator.start_many(replica, PROMPT, AHEAD, 4, ignore_eos=True)
    return [told.token_ids for told in await coordinator.ended(*grants)]


def is_alive(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


async def test_branches_come_back_cut_at_aligned_boundaries(fleet: Fleet) -> None:
    hello = await fleet.coordinator.hello("r0")
    assert (hello.engine.engine, hello.engine.block_size, hello.engine.logprobs_mode) == ("vllm-cpu", 32, "processed")
    grants = fleet.coordinator.start_many("r0", PROMPT, [*AHEAD, 1000], 6)
    for told in await fleet.coordinator.ended(*grants):
        assert told.end.reason == wire.END_REASON_EOS
        assert told.token_ids[-1] == 1
        total = len(PROMPT)
        for size in told.sizes[:-1]:
            total += size
            assert total % 32 == 1
        assert told.text == TOKENIZER.decode(told.token_ids, skip_special_tokens=True)
        assert "The answer is" in told.text


async def test_branches_come_back_cut_after_their_lines_where_a_newline_ends_segments(fleet: Fleet) -> None:
    lines = wire.Delimiter(texts=["\n"])
    running = fleet.coordinator.start_many("r0", PROMPT, [400] * 16, 6, delimiter=lines)
    held = fleet.coordinator.start_many("r0", PROMPT, [400] * 16, 2, delimiter=lines, hold=True)
    for told in await fleet.coordinator.ended(*running):
        assert told.end.reason == wire.END_REASON_EOS
        assert told.text == TOKENIZER.decode(told.token_ids, skip_special_tokens=True)
        assert [segment.text for segment in told.segments] == told.text.splitlines(keepends=True)
        assert len(told.segments) > 2
    for told in await fleet.coordinator.ended(*held):
        [segment] = told.segments
        assert (segment.text.count("\n"), segment.text[-1:]) == (1, "\n")
        assert told.end.reason == wire.END_REASON_HOLD


async def test_a_fork_at_a_parent_that_runs_on_recomputes_exactly_one_token(fleet: Fleet) -> None:
    coordinator = fleet.coordinator
    grant = coordinator.start("r0", PROMPT, AHEAD, ignore_eos=True)
    while len(coordinator.grants[grant].segments) < 2:
        async with coordinator.changed:
            await coordinator.changed.wait()
    parent = PROMPT + coordinator.grants[grant].token_ids[: 97 - len(PROMPT)]
    forks = coordinator.start_many("r0", parent, AHEAD[2:], 3, prompt_tokens=len(PROMPT), ignore_eos=True)
    for told in await coordinator.ended(*forks):
        assert len(parent) - told.segments[0].cached_tokens == 1
    await coordinator.ended(grant)


async def test_logprobs_are_those_of_the_model_in_float32(fleet: Fleet) -> None:
    torch = pytest.importorskip("torch")
    from transformers import AutoModelForCausalLM

    grant = fleet.coordinator.start("r1", PROMPT, AHEAD, ignore_eos=True)
    [told] = await fleet.coordinator.ended(grant)
    model = AutoModelForCausalLM.from_pretrained(str(MODEL_DIR), dtype=torch.float32)
    with torch.no_grad():
        logits = model(torch.tensor([PROMPT + told.token_ids])).logits[0, len(PROMPT) - 1 : -1]
    expected = torch.log_softmax(logits, -1).gather(-1, torch.tensor(told.token_ids)[:, None])[:, 0].numpy()
    assert np.abs(expected - np.array(told.logprobs)).max() < 1e-3


async def test_replicas_do_not_repeat_each_other(fleet: Fleet) -> None:
    spoken = [tuple(ids) for words in fleet.first_words.values() for ids in words]
    assert len(set(spoken)) == len(spoken) == 8


async def test_stops_and_credit_account_for_every_token(fleet: Fleet) -> None:
    coordinator = fleet.coordinator
    before = await generated(coordinator, 0)
    stopped = coordinator.start_many("r1", PROMPT, [*AHEAD, 1000], 8, ignore_eos=True)
    while any(len(coordinator.grants[grant].segments) < 2 for grant in stopped):
        async with coordinator.changed:
            await coordinator.changed.wait()
    coordinator.stop("r1", *stopped)
    told = await coordinator.ended(*stopped)
    assert {one.end.reason for one in told} == {wire.END_REASON_STOPPED}
    coordinator.acknowledge = False
    try:
        unpaid = [AHEAD[-1] + 32, AHEAD[-1] + 64, 1000]
        credit = coordinator.start_many("r1", PROMPT, [*AHEAD, *unpaid], 4, ignore_eos=True)
        expired = await coordinator.ended(*credit)
    finally:
        coordinator.acknowledge = True
    for one in expired:
        assert one.end.reason == wire.END_REASON_CREDIT
        assert [size for size in one.sizes if size] == [65 - len(PROMPT)] + [32] * (RUN_AHEAD - 1)
        assert one.end.dropped_tokens <= 16
    assert await generated(coordinator, before + 1) - before == accounted(told) + accounted(expired)


def accounted(told: list[Told]) -> int:
    return sum(len(one.token_ids) + one.end.dropped_tokens for one in told)


async def generated(coordinator: FakeCoordinator, at_least: int) -> int:
    """Tokens of r1 according to heartbeats that come from now on and have settled."""
    seen = len(coordinator.beats_of("r1"))
    async with asyncio.timeout(300), coordinator.changed:
        await coordinator.changed.wait_for(
            lambda: len(beats := coordinator.beats_of("r1")) >= seen + 2 and beats[-1].generated_tokens >= at_least
        )
    return coordinator.beats_of("r1")[-1].generated_tokens


async def test_each_replica_is_scraped_with_its_own_metrics_beside_those_of_vllm(fleet: Fleet) -> None:
    urls = {name: (await fleet.coordinator.hello(name)).origin.metrics for name in ("r0", "r1")}
    assert len(set(urls.values())) == 2
    for url in urls.values():
        text = (await asyncio.to_thread(httpx.get, url, timeout=300)).content
        found = {
            one.name: one.value for family in text_string_to_metric_families(text.decode()) for one in family.samples
        }
        assert {metric.full_name for metric in REPLICA_CATALOGUE} | VLLM_NAMES <= found.keys()
        tokens = found["treeroll_replica_tokens_total"]
        assert 0 < tokens <= found["vllm:generation_tokens_total"]  # which counts those of its warm-up, too
        complaints = promtool(["check", "metrics"], text).stderr.decode().splitlines()
        assert not [line for line in complaints if "treeroll" in line or not line.startswith("vllm:")]


async def test_requests_of_traced_trees_have_spans_below_their_grants_and_others_have_none(
    fleet: Fleet, collector: Collector
) -> None:
    tree_id = "00000000000000a1"
    header = names.traceparent(tree_id, names.branch_span(tree_id, "0", 1))
    grants = fleet.coordinator.start_many("r0", PROMPT, AHEAD, 2, tree_id=tree_id, traceparent=header)
    untraced = fleet.coordinator.start_many("r0", PROMPT, AHEAD, 2, tree_id="00000000000000a2")
    await fleet.coordinator.ended(*grants, *untraced)
    assert await asyncio.to_thread(collector.wait_for, "llm_request", 2, 300)
    requests = [span for span in collector.spans if span.name == "llm_request"]
    assert {int.from_bytes(span.trace_id, "big") for span in requests} == {names.trace_id(tree_id)}
    assert {int.from_bytes(span.parent_span_id, "big") for span in requests} == {names.branch_span(tree_id, "0", 1)}
    assert len(requests) == 2  # of dozens that were made by now


async def test_dead_replicas_come_back_and_say_something_else(fleet: Fleet) -> None:
    pids = {name: await fleet.supervisor.actors[name].pid.remote() for name in ("r0", "r1")}
    engines = {name: engines_below(pid) for name, pid in pids.items()}
    assert all(len(found) == 1 for found in engines.values())
    os.kill(pids["r0"], signal.SIGKILL)  # the whole replica
    os.kill(engines["r1"][0], signal.SIGKILL)  # only its engine
    for name in ("r0", "r1"):
        await fleet.coordinator.hello(name, 2, timeout_s=START_TIMEOUT_S)
    assert sorted(fleet.lost) == [("r0", 1), ("r1", 1)]
    assert not any(is_alive(pid) for pid in (*pids.values(), *engines["r0"], *engines["r1"]))
    for name in ("r0", "r1"):
        again = await first_words(fleet.coordinator, name)
        assert not set(map(tuple, again)) & set(map(tuple, fleet.first_words[name]))
