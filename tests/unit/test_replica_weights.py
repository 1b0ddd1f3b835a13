"""A replica that is told to stage and to take weights: what it answers, and what its segments then say."""

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file
from tests.support.eventually import eventually
from tests.support.fake_coordinator import FakeCoordinator

import treeroll
from treeroll.demo import MODEL_DIR
from treeroll.errors import EngineError
from treeroll.generator import weight_versions
from treeroll.generator.config import SimulatedLatency
from treeroll.generator.detokenizer import Detokenizer
from treeroll.generator.replica import Replica
from treeroll.generator.simulated_engine import SimulatedEngine
from treeroll.pb.v1 import replica_pb2 as wire

DETOKENIZER = Detokenizer(MODEL_DIR)
PROMPT = DETOKENIZER.tokenizer.encode("Compute 20+31-17+25.\n").ids
AHEAD = [33 + 32 * i for i in range(24)]
STAGED, LOADED, REFUSED = wire.WEIGHTS_STATE_STAGED, wire.WEIGHTS_STATE_LOADED, wire.WEIGHTS_STATE_REFUSED


class Engine(SimulatedEngine):
    """Decodes in steps that a test allows, and cannot load a version that a test names."""

    def __init__(self) -> None:
        self.steps = asyncio.Semaphore(0)
        self.unloadable = -1
        latency = SimulatedLatency(step_s=0.001, prefill_token_s=0.0, jitter=0.0)
        super().__init__(
            DETOKENIZER.tokenizer, model=str(MODEL_DIR), max_model_len=1024, latency=latency, sleep=self._step
        )

    async def _step(self, seconds: float) -> None:
        await self.steps.acquire()

    def decode(self, steps: int = 10_000) -> None:
        for _ in range(steps):
            self.steps.release()

    async def flip_weights(self, version: int, recompute: bool = False) -> None:
        if version == self.unloadable:
            self.die("half of it was loaded")
        await super().flip_weights(version, recompute)


@asynccontextmanager
async def served(coordinator: FakeCoordinator) -> AsyncIterator[tuple[Engine, "asyncio.Task[None]"]]:
    """A connected replica r0; it is cancelled at the end."""
    engine = Engine()
    task = asyncio.create_task(Replica(engine, DETOKENIZER, "r0", 1, coordinator.address).run())
    await coordinator.hello("r0")
    try:
        yield engine, task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> dict[int, tuple[str, str]]:
    """Directory and digest of versions 1 to 3."""
    folder, base = tmp_path_factory.mktemp("weights"), load_file(MODEL_DIR / "model.safetensors")
    made = {}
    for version in (1, 2, 3):
        moved = {name: array + np.float32(version / 100) for name, array in base.items()}
        made[version] = str(folder / f"v{version}"), treeroll.save_weights(moved, folder / f"v{version}")
    return made


class Held:
    """Checks of directories wait until they are let go."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.go = threading.Event()
        self.begun: list[str] = []
        check = weight_versions.check_weights

        def slow(path: str, *more: Any) -> Any:
            self.begun.append(path)
            self.go.wait()
            return check(path, *more)

        monkeypatch.setattr(weight_versions, "check_weights", slow)

    async def has_begun(self, number: int) -> None:
        async def begun() -> bool:
            return len(self.begun) >= number

        await eventually(begun)


@pytest.fixture
def held(monkeypatch: pytest.MonkeyPatch) -> Iterator[Held]:
    held = Held(monkeypatch)
    yield held
    held.go.set()  # or the thread would wait on


def stage(coordinator: FakeCoordinator, version: int, path: str, digest: str = "") -> None:
    order = wire.StageWeights(version=version, path=path, digest=digest)
    coordinator.send("r0", wire.Commands(stage_weights=order))


def flip(coordinator: FakeCoordinator, version: int, recompute: bool = False) -> None:
    coordinator.send("r0", wire.Commands(flip_weights=wire.FlipWeights(version=version, recompute=recompute)))


async def test_weights_are_staged_and_taken_and_hello_says_so(published: dict[int, tuple[str, str]]) -> None:
    path, digest = published[1]
    async with FakeCoordinator() as coordinator, served(coordinator):
        assert (coordinator.hellos[0].weight_version, coordinator.hellos[0].weight_digest) == (0, "")
        stage(coordinator, 1, path, digest)
        flip(coordinator, 1)
        staged, loaded = await coordinator.weights_reports(2)
        assert [(one.version, one.digest, one.state, one.error) for one in (staged, loaded)] == [
            (1, digest, STAGED, ""),
            (1, digest, LOADED, ""),
        ]
        assert staged.seconds > 0
        assert loaded.seconds > 0
        await coordinator.close()
        await coordinator.open()

        async def again() -> bool:
            return len(coordinator.hellos) == 2

        await eventually(again)
        assert (coordinator.hellos[1].weight_version, coordinator.hellos[1].weight_digest) == (1, digest)


@pytest.mark.parametrize("recompute", [False, True])
async def test_segments_say_which_weights_made_their_tokens(
    published: dict[int, tuple[str, str]], recompute: bool
) -> None:
    async with FakeCoordinator() as coordinator, served(coordinator) as (engine, _):
        grants = coordinator.start_many("r0", PROMPT, AHEAD, 3, ignore_eos=True, cache_salt="tenant")
        engine.decode(5)

        async def far() -> bool:
            return all(len(coordinator.grants[grant].segments) >= 2 for grant in grants)

        await eventually(far)
        stage(coordinator, 1, *published[1])
        flip(coordinator, 1, recompute)
        await coordinator.weights_reports(2)
        late = coordinator.start("r0", PROMPT, AHEAD, ignore_eos=True, cache_salt="tenant")
        engine.decode()
        for told in await coordinator.ended(*grants):
            labels = [span.version for node in told.nodes for span in node.weight_versions for _ in range(span.tokens)]
            assert len(labels) == len(told.token_ids)
            # An engine that decodes 16 tokens at a time changed between two of them, inside of a segment.
            assert labels.count(0) in (4 * 16, 5 * 16)
            assert labels == sorted(labels)
            new = [any(span.version == 1 for span in node.weight_versions) for node in told.nodes]
            assert [node.kv_mixed for node in told.nodes] == [is_new and not recompute for is_new in new]
            assert len(told.nodes[new.index(True)].weight_versions) == 2
        [told] = await coordinator.ended(late)
        assert {span.version for node in told.nodes for span in node.weight_versions} == {1}
        assert not any(node.kv_mixed for node in told.nodes)
        assert told.segments[0].cached_tokens == 0


async def test_decoding_goes_on_while_a_directory_is_read(published: dict[int, tuple[str, str]], held: Held) -> None:
    async with FakeCoordinator() as coordinator, served(coordinator) as (engine, _):
        stage(coordinator, 1, *published[1])
        await held.has_begun(1)
        engine.decode()
        [told] = await coordinator.ended(coordinator.start("r0", PROMPT, AHEAD, ignore_eos=True))
        assert told.end.reason == wire.END_REASON_LENGTH
        assert coordinator.weights == []
        held.go.set()
        await coordinator.weights_reports(1)


async def test_an_order_that_comes_again_is_done_once_and_answered_again(
    published: dict[int, tuple[str, str]], held: Held
) -> None:
    async with FakeCoordinator() as coordinator, served(coordinator):
        for _ in range(3):
            stage(coordinator, 1, *published[1])
        flip(coordinator, 1)
        await held.has_begun(1)
        held.go.set()
        reports = await coordinator.weights_reports(2)
        assert [report.state for report in reports] == [STAGED, LOADED]
        assert len(held.begun) == 1
        stage(coordinator, 1, *published[1])
        flip(coordinator, 1)
        stage(coordinator, 1, published[1][0])
        assert [report.state for report in (await coordinator.weights_reports(5))[2:]] == [LOADED] * 3
        assert {report.digest for report in coordinator.weights} == {published[1][1]}
        assert len(held.begun) == 1


async def test_another_directory_takes_the_place_of_one_on_its_way(
    published: dict[int, tuple[str, str]], held: Held
) -> None:
    async with FakeCoordinator() as coordinator, served(coordinator) as (engine, _):
        stage(coordinator, 1, *published[1])
        stage(coordinator, 2, *published[2])
        flip(coordinator, 1)
        flip(coordinator, 2)
        await held.has_begun(2)
        held.go.set()
        reports = await coordinator.weights_reports(4)
        assert {(report.version, report.state) for report in reports} == {
            (1, REFUSED), (2, STAGED), (2, LOADED),
        }  # fmt: skip
        assert sum(report.version == 1 for report in reports) == 2
        assert engine.weight_version == 2


async def test_what_cannot_be_used_is_refused_in_a_sentence_and_changes_nothing(
    published: dict[int, tuple[str, str]], tmp_path: Path
) -> None:
    async with FakeCoordinator() as coordinator, served(coordinator) as (engine, task):
        stage(coordinator, 2, *published[2])
        flip(coordinator, 2)
        await coordinator.weights_reports(2)
        orders = {
            f"weights {tmp_path / 'gone'}: there is no such directory": (3, str(tmp_path / "gone"), ""),
            "the path must be absolute": (3, "step-3", ""),
            f"weights {published[3][0]}: their digest is": (3, published[3][0], published[1][1]),
            "weight version 1 is not above 2": (1, *published[1]),
            "weight version 2 is not above 2": (2, *published[3]),
            "weight version 0 is not above 2": (0, *published[1]),
        }
        for number, (why, order) in enumerate(orders.items(), 3):
            stage(coordinator, *order)
            refused = (await coordinator.weights_reports(number))[-1]
            assert (refused.version, refused.state, refused.digest) == (order[0], REFUSED, "")
            assert why in refused.error
        flip(coordinator, 3)
        refused = (await coordinator.weights_reports(3 + len(orders)))[-1]
        assert (refused.state, refused.error) == (REFUSED, "weight version 3 is not staged here; 2 is in use")
        assert (engine.weight_version, engine.weight_digest) == (2, published[2][1])
        engine.decode()
        [told] = await coordinator.ended(coordinator.start("r0", PROMPT, AHEAD, ignore_eos=True))
        assert {span.version for node in told.nodes for span in node.weight_versions} == {2}
        assert not task.done()


async def test_whatever_a_directory_does_to_its_reader_is_a_refusal(
    published: dict[int, tuple[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def stumbles(*_: Any) -> None:
        raise RecursionError("maximum recursion\ndepth exceeded")

    monkeypatch.setattr(weight_versions, "check_weights", stumbles)
    async with FakeCoordinator() as coordinator, served(coordinator) as (_, task):
        stage(coordinator, 1, *published[1])
        [refused] = await coordinator.weights_reports(1)
        assert refused.state == REFUSED
        assert refused.error == "weight version 1: RecursionError: maximum recursion depth exceeded"
        assert not task.done()


async def test_a_load_that_fails_in_the_middle_ends_the_replica(published: dict[int, tuple[str, str]]) -> None:
    async with FakeCoordinator() as coordinator, served(coordinator) as (engine, task):
        engine.unloadable = 1
        stage(coordinator, 1, *published[1])
        flip(coordinator, 1)
        with pytest.raises(EngineError, match="half of it was loaded"):
            await task
        assert [report.state for report in coordinator.weights] in ([], [STAGED])
