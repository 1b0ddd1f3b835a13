"""Traces: of a service with replicas one for each tree, put together from what several processes would say."""

import asyncio
import threading
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SpanExportResult
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode, format_span_id, format_trace_id

from treeroll.client import AsyncClient, TreeRecord, connect_async
from treeroll.config import parse
from treeroll.demo import MODEL_DIR, TASKS_FILE
from treeroll.errors import InvalidInput
from treeroll.generator.config import GeneratorConfig, SimulatedLatency, with_tracing
from treeroll.generator.detokenizer import Detokenizer
from treeroll.generator.engine import Delta, EngineRequest
from treeroll.generator.simulated_engine import SimulatedEngine
from treeroll.records.assemble import as_stored
from treeroll.service import ServiceConfig, recorder_of
from treeroll.store.memory import MemoryStore
from treeroll.tasks import read_tasks
from treeroll.testing.service import LocalService, local_service
from treeroll.tracing import names
from treeroll.tracing.config import TracingConfig
from treeroll.tracing.recorder import Recorder
from treeroll.tracing.spans import Delivered, grants

RUN: dict[str, Any] = {"recipe": "treepo", "leaves": 8, "segment_tokens": 32, "scorer": "arith", "seed": 5}


class ListeningEngine(SimulatedEngine):
    """Remembers in which spans its requests were."""

    def __init__(self) -> None:
        tokenizer = Detokenizer(MODEL_DIR).tokenizer
        super().__init__(tokenizer, slots=16, max_model_len=1024, latency=SimulatedLatency(step_s=0.0))
        self.told: list[tuple[str, str]] = []

    async def generate(self, request: EngineRequest) -> AsyncGenerator[Delta, None]:
        self.told.append((request.tree_id, request.traceparent))
        async for delta in super().generate(request):
            yield delta


class Traced:
    """A service, its engines, and what was exported."""

    def __init__(self, service: LocalService, recorder: Recorder, exporter: InMemorySpanExporter) -> None:
        self.service, self._recorder, self._exporter = service, recorder, exporter
        self.engines = [ListeningEngine(), ListeningEngine()]
        for number, engine in enumerate(self.engines):
            service.serve_engine(engine, f"r{number}")

    async def spans(self) -> list[ReadableSpan]:
        """All, once the trees that have ended are read."""
        tracer = self.service.coordinator.tracer
        if tracer is not None:
            await asyncio.gather(*tracer._reads)
        await asyncio.to_thread(self._recorder.flush)
        return list(self._exporter.get_finished_spans())

    @property
    def told(self) -> list[tuple[str, str]]:
        return [one for engine in self.engines for one in engine.told]


@asynccontextmanager
async def traced(ratio: float = 1.0) -> AsyncIterator[Traced]:
    exporter = InMemorySpanExporter()
    recorder = Recorder(exporter)
    try:
        async with local_service(recorder=recorder, trace_ratio=ratio) as service:
            here = Traced(service, recorder, exporter)
            await service.joined()
            yield here
    finally:
        recorder.stop()


async def grown(client: AsyncClient, tasks: int = 4, **settings: Any) -> list[TreeRecord]:
    run = await client.create_run("run", **{**RUN, **settings})
    await run.submit(read_tasks(TASKS_FILE, limit=tasks))
    await run.close()
    trees = []
    async for batch in run.batches():
        trees += batch.trees
        await batch.ack()
    return trees


def named(spans: list[ReadableSpan], name: str) -> list[ReadableSpan]:
    return [span for span in spans if span.name == name]


def said(span: ReadableSpan, attribute: str) -> Any:
    return (span.attributes or {})[attribute]


def context_of(span: ReadableSpan) -> str:
    """As a traceparent."""
    assert span.context is not None
    return f"00-{format_trace_id(span.context.trace_id)}-{format_span_id(span.context.span_id)}-01"


async def test_two_replicas_and_a_trainer_make_one_trace_of_each_tree_with_the_whole_chain() -> None:
    async with traced() as here, await connect_async(here.service.address) as client:
        trees = await grown(client)
        spans = await here.spans()
        by_id = {span.context.span_id: span for span in spans if span.context}
        assert len(by_id) == len(spans)
        for tree in trees:
            own = [span for span in spans if span.context and span.context.trace_id == names.trace_id(tree.tree_id)]
            assert format_trace_id(names.trace_id(tree.tree_id)).endswith(tree.tree_id)
            [task], [root] = named(own, "treeroll.task"), named(own, "treeroll.tree")
            assert task.parent is None
            assert root.parent == task.context
            for below in ("treeroll.branch", "treeroll.score", "treeroll.delivery"):
                assert named(own, below), below
                assert {span.parent and by_id[span.parent.span_id].name for span in named(own, below)} == {
                    "treeroll.tree"
                }
            # What engines were told is where their own spans of requests go: below a branch, and none is forgotten.
            told = sorted(header for tree_id, header in here.told if tree_id == tree.tree_id)
            assert told == sorted(context_of(span) for span in named(own, "treeroll.branch"))
            assert all(span.start_time <= span.end_time for span in own if span.start_time and span.end_time)
            assert said(root, "treeroll.run") == "run"
            assert said(root, "treeroll.leaves") == len([node for node in tree.nodes if node.status == "leaf"])
            made = sum(int(str(said(span, "gen_ai.usage.output_tokens"))) for span in named(own, "treeroll.branch"))
            assert made == sum(len(node.token_ids) for node in tree.nodes if node.parent_id is not None)
            segments = sum(len(span.events) for span in named(own, "treeroll.branch"))
            assert segments == len(tree.nodes) - 1
            [delivery] = named(own, "treeroll.delivery")
            assert said(delivery, "treeroll.outcome") == "acknowledged"
        replicas = {said(span, "treeroll.replica") for span in named(spans, "treeroll.branch")}
        assert replicas == {"r0", "r1"}
        texts = [str(value) for span in spans for value in (span.attributes or {}).values()]
        assert not [text for text in texts if any(task.prompt in text for task in read_tasks(TASKS_FILE, limit=4))]


async def test_grants_that_begin_inside_segments_and_hold_have_the_spans_that_replicas_were_told() -> None:
    async with traced() as here, await connect_async(here.service.address) as client:
        await grown(client, 2, recipe="treerl", leaves=30)
        spans = await here.spans()
        told = sorted(header for _, header in here.told)
        assert told == sorted(context_of(span) for span in named(spans, "treeroll.branch"))


async def test_with_ratio_0_there_is_no_span_and_nobody_is_told_of_one() -> None:
    async with traced(0.0) as here, await connect_async(here.service.address) as client:
        await grown(client)
        assert await here.spans() == []
        assert {header for _, header in here.told} == {""}


async def test_with_a_small_ratio_those_are_traced_that_any_process_would_say() -> None:
    async with traced(0.4) as here, await connect_async(here.service.address) as client:
        trees = await grown(client, 20)
        wanted = {tree.tree_id for tree in trees if int(tree.tree_id, 16) < 0.4 * 2**64}
        assert 0 < len(wanted) < 20
        assert {tree_id for tree_id, header in here.told if header} == wanted
        assert {said(span, "treeroll.tree") for span in named(await here.spans(), "treeroll.tree")} == wanted


async def test_trees_that_fail_have_their_spans_afterwards_whatever_the_ratio() -> None:
    async with traced(1e-9) as here, await connect_async(here.service.address) as client:
        assert await grown(client, 2, budget={"tree_tokens": 200}) == []  # no branch fits
        roots = named(await here.spans(), "treeroll.tree")
        assert [said(span, "treeroll.status") for span in roots] == ["failed", "failed"]
        assert {span.status.status_code for span in roots} == {StatusCode.ERROR}
        assert all("the tree's budget has 200 tokens left" in (span.status.description or "") for span in roots)


@pytest.fixture
def trainer() -> Iterator[Any]:
    """Somebody who traces on their own."""
    provider = TracerProvider()
    yield provider.get_tracer("trainer")
    provider.shutdown()


async def test_who_submits_and_who_leases_are_linked_and_told_of_the_delivery(trainer: Any) -> None:
    async with traced() as here, await connect_async(here.service.address) as client:
        run = await client.create_run("run", **RUN)
        with trainer.start_as_current_span("submit") as submitting:
            await run.submit(read_tasks(TASKS_FILE, limit=1))
        await run.close()
        with trainer.start_as_current_span("step") as step:
            deliveries = []
            async for batch in run.batches(trees=1):
                deliveries += batch.deliveries
                await batch.ack()
        spans = await here.spans()
        [task], [delivery] = named(spans, "treeroll.task"), named(spans, "treeroll.delivery")
        assert [link.context.span_id for link in task.links] == [submitting.get_span_context().span_id]
        assert [link.context.trace_id for link in delivery.links] == [step.get_span_context().trace_id]
        assert [one.traceparent for one in deliveries] == [context_of(delivery)]


def test_an_endpoint_is_a_url_and_engines_have_it_unless_they_have_one_of_their_own() -> None:
    with pytest.raises(InvalidInput, match=r"tracing\.endpoint.*must be a URL, such as http://collector:4317"):
        parse(ServiceConfig, {"tracing": {"endpoint": "collector:4317"}}, "x")
    tracing = TracingConfig(endpoint="http://collector:4317")
    assert with_tracing(GeneratorConfig(), tracing).tracing_endpoint == "http://collector:4317"
    assert with_tracing(GeneratorConfig(), TracingConfig()).tracing_endpoint is None
    own = GeneratorConfig(tracing_endpoint="http://node:4317")
    assert with_tracing(own, tracing).tracing_endpoint == "http://node:4317"
    pools = GeneratorConfig(pools={"a": {"model": MODEL_DIR}, "b": {"model": MODEL_DIR}})
    assert {pool.tracing_endpoint for pool in with_tracing(pools, tracing).fleet().values()} == {tracing.endpoint}
    assert recorder_of(TracingConfig()) is None
    assert recorder_of(TracingConfig(endpoint="http://collector:4317", ratio=0.0)) is None


def test_a_protocol_that_there_is_not_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "carrier-pigeon")
    with pytest.raises(InvalidInput, match="is 'carrier-pigeon': it must be grpc or http/protobuf"):
        recorder_of(TracingConfig(endpoint="http://127.0.0.1:1"))


@pytest.mark.parametrize(
    "header", ["", "x", "00-" + "0" * 32 + "-" + "1" * 16 + "-01", "00-" + "1" * 32 + "-" + "0" * 16 + "-01"]
)
def test_a_header_that_names_no_span_is_passed_over(header: str) -> None:
    assert names.parent_of(header) is None
    assert names.parent_of(names.traceparent("00000000000000ff", 7)) == (names.trace_id("00000000000000ff"), 7)


class Stuck(InMemorySpanExporter):
    """A collector that takes nothing until it is let."""

    def __init__(self) -> None:
        super().__init__()
        self.let, self.asked = threading.Event(), threading.Event()

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        self.asked.set()
        self.let.wait()
        return super().export(spans)


def test_a_collector_that_takes_nothing_holds_up_no_end() -> None:
    exporter = Stuck()
    recorder = Recorder(exporter)
    recorder.put(Delivered("00000000000000a1", "run", "group", 1, 1.0, 2.0, "acknowledged"))
    recorder.stop()  # comes back, although the exporter does not
    assert exporter.asked.wait(300)
    assert not exporter.let.is_set()
    exporter.let.set()


async def test_more_than_the_recorder_can_tell_is_left_out_and_counted() -> None:
    exporter = InMemorySpanExporter()
    recorder = Recorder(exporter)
    async with local_service(MemoryStore()) as service, await connect_async(service.address) as client:
        service.start_replica("r0")
        [tree] = await grown(client, 1)
        [stored] = await service.store.load_trees([tree.tree_id])
    assert stored is not None
    assert len(grants(as_stored(stored))) > 1
    recorder._thread.join(0)
    for _ in range(3000):
        recorder.put((stored, ""))
    assert recorder.left_out > 0
    recorder.stop()
    assert exporter.get_finished_spans()
