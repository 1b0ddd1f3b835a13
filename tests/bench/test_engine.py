"""The engine benchmark counts right, and grows the same trees with and without treeroll."""

import asyncio
import json
from array import array
from collections.abc import Sequence
from pathlib import Path

import pytest

from treeroll.bench.engine import RAW, EngineBench, add_efficiency
from treeroll.bench.meter import Meter
from treeroll.bench.models import ARCHITECTURES, CONTEXT, context_of, find_model
from treeroll.bench.prompts import Kind, Workload
from treeroll.bench.raw_engine import Completion
from treeroll.bench.rounds import Rounds
from treeroll.demo import MODEL_DIR
from treeroll.errors import InvalidInput
from treeroll.generator.config import GeneratorConfig, SimulatedLatency
from treeroll.generator.detokenizer import Detokenizer
from treeroll.generator.engine import EngineRequest
from treeroll.generator.simulated_engine import SimulatedEngine
from treeroll.policy.base import Limits
from treeroll.sampling import Sampling
from treeroll.tokenizer import Tokenizer

BLOCK = 32
LIMITS = Limits(leaves=4, segment_tokens=32, max_depth=3, max_tokens=96)
PATH_TOKENS = 2 * 4 * 96  # of two prompts


def workload(kind: Kind = "fixed", limits: Limits = LIMITS) -> Workload:
    """Two prompts."""
    return Workload(kind, 2, 40, limits, Tokenizer.load(MODEL_DIR), BLOCK)


class SimulatedRawEngine:
    """The raw engine's interface over a simulated engine."""

    def __init__(self) -> None:
        self._engine = SimulatedEngine(
            Detokenizer(MODEL_DIR).tokenizer, max_model_len=1024, latency=SimulatedLatency(step_s=0.0)
        )
        self._requests = 0

    async def start(self) -> None:
        await self._engine.start()

    async def complete(self, prefix: Sequence[int], tokens: int, stop_ids: Sequence[int]) -> Completion:
        self._requests += 1
        settings = Sampling(stop_token_ids=tuple(stop_ids), ignore_eos=not stop_ids)
        ids = array("i", prefix).tobytes()
        name = f"r{self._requests}"
        request = EngineRequest(name, ids, len(prefix), len(prefix) + tokens, settings, self._requests)
        deltas = [delta async for delta in self._engine.generate(request)]
        return Completion(
            [token for delta in deltas for token in delta.token_ids],
            [logprob for delta in deltas for logprob in delta.logprobs],
            deltas[0].cached_tokens or 0,
            deltas[-1].finish == "eos",
        )

    async def stop(self) -> None:
        await self._engine.shutdown()


async def measure(name: str, work: Workload) -> Meter:
    """One round of a raw variant."""
    engine = SimulatedRawEngine()
    await engine.start()
    try:
        return await RAW[name](engine, work, work.tasks(1, name))  # type: ignore[arg-type]
    finally:
        await engine.stop()


def test_flat_samples_every_prompt_as_often_as_asked() -> None:
    meter = asyncio.run(measure("flat", workload()))
    assert meter.samples == meter.requests == 8
    assert meter.generated == meter.sample_tokens == PATH_TOKENS


@pytest.mark.parametrize("name", ["lockstep", "lockstep-unaligned", "segments", "segments-unaligned"])
def test_raw_trees_have_all_leaves_at_full_length_and_share(name: str) -> None:
    meter = asyncio.run(measure(name, workload()))
    assert meter.samples == 8
    assert meter.sample_tokens == PATH_TOKENS
    assert meter.requests == 2 * (2 + 4 + 4)
    assert meter.generated < PATH_TOKENS


@pytest.mark.parametrize("name", ["lockstep", "segments"])
def test_aligned_segments_recompute_one_token_each(name: str) -> None:
    assert asyncio.run(measure(name, workload())).figures()["recomputed_per_fork"] == 1.0


def test_barrier_and_no_barrier_grow_the_same_tokens() -> None:
    assert (
        asyncio.run(measure("lockstep", workload())).generated == asyncio.run(measure("segments", workload())).generated
    )


def test_tasks_end_by_themselves_and_still_reach_the_width() -> None:
    meter = asyncio.run(measure("lockstep", workload("tasks", Limits(4, 64, 8, 512))))
    assert meter.samples == 8
    assert meter.sample_tokens < 8 * 512


def test_served_variants_grow_what_raw_ones_grow() -> None:
    work = workload()
    generator = GeneratorConfig(engine="simulated", slots=16, block_size=BLOCK, simulated=SimulatedLatency(step_s=0.0))
    bench = EngineBench(work, generator, ("flat-service", "tree"))
    result = asyncio.run(bench.run(1, lambda line: None))
    flat, tree = result.rounds["flat-service"][0], result.rounds["tree"][0]
    raw = asyncio.run(measure("segments", work))
    assert flat["samples"] == tree["samples"] == 8
    assert flat["generated_tokens"] == PATH_TOKENS
    assert tree["generated_tokens"] == raw.generated
    assert tree["requests"] >= 8  # an engine this fast runs out of credit and is granted again
    assert tree["recomputed_per_fork"] == 1.0


def test_prompts_are_equal_in_length_for_all_variants_and_never_whole_blocks() -> None:
    work = workload()
    sizes = {name: [len(task.prompt_ids or ()) for task in work.tasks(3, name)] for name in ("flat", "tree")}
    assert sizes["flat"] == sizes["tree"]
    assert all(size % BLOCK for size in sizes["flat"])
    assert work.tasks(3, "flat") == work.tasks(3, "flat") != work.tasks(3, "tree")


def test_efficiency_is_one_when_speed_follows_from_sharing_alone() -> None:
    flat = {"samples": 8, "samples_per_s": 2.0, "generated_tokens": 800}
    tree = {"samples": 8, "samples_per_s": 4.0, "generated_tokens": 400}
    rounds = Rounds({"flat": [flat], "tree": [tree]})
    add_efficiency(rounds)
    assert rounds["tree"][0]["efficiency"] == rounds["flat"][0]["efficiency"] == 1.0


def test_only_the_first_computation_of_a_prompt_is_no_recomputation() -> None:
    meter = Meter()
    for cached in (0, 32, 32):
        meter.request("t", 40, cached, at_prompt=True)
    meter.request("t", 65, 64, at_prompt=False)
    assert meter.recomputed == 8 + 8 + 1


def test_a_path_that_does_not_fit_is_refused() -> None:
    with pytest.raises(InvalidInput, match="model's context is 1024"):
        EngineBench(workload(limits=Limits(4, 512, 14, 7168)), GeneratorConfig())


def test_an_unknown_variant_is_refused() -> None:
    with pytest.raises(InvalidInput, match="'fast'"):
        EngineBench(workload(), GeneratorConfig(), ("flat", "fast"))


@pytest.mark.parametrize("name", list(ARCHITECTURES))
def test_a_named_architecture_becomes_a_model_directory(name: str, tmp_path: Path) -> None:
    model = find_model(name, tmp_path)
    config = json.loads((model.path / "config.json").read_text())
    assert model.load_format == "dummy"
    assert config["hidden_size"] % config["num_attention_heads"] == 0
    tokenizer = Tokenizer.load(model.path)
    assert tokenizer.vocab_size == config["vocab_size"]
    assert tokenizer.max_model_len == CONTEXT


def test_a_named_architecture_has_no_longer_context_than_its_kv_cache(tmp_path: Path) -> None:
    # vLLM refuses to start where one path does not fit.
    model = find_model("25m", tmp_path, context_of(blocks=512, block_size=32))
    assert Tokenizer.load(model.path).max_model_len == 511 * 32
    assert context_of(blocks=1 << 20, block_size=32) == CONTEXT


def test_a_model_that_is_neither_a_directory_nor_a_name_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="none of demo, tiny"):
        find_model(str(tmp_path / "absent"), tmp_path)
