"""New weights in a running engine: what every engine must do, on the simulated one and (marker vllm) on vLLM.

Every token's logprob is compared with a reference that has the weights its span names: transformers in float32, or for
the simulated engine another one that was asked for that token alone. The models are the demo's, whose output head is
tied to the embedding, and one with a head of its own.
"""

import asyncio
import json
import shutil
from array import array
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path

import numpy as np
import pytest
import pytest_asyncio
from safetensors.numpy import load_file, save_file
from tests.support.eventually import eventually

import treeroll
from treeroll.bench.weight_truth import ReferenceModels
from treeroll.demo import MODEL_DIR
from treeroll.errors import BadWeights, EngineError, InvalidInput
from treeroll.generator.config import GeneratorConfig, SimulatedLatency
from treeroll.generator.detokenizer import Detokenizer
from treeroll.generator.engine import Delta, Engine, EngineRequest, VersionSpan
from treeroll.generator.factory import make_engine
from treeroll.sampling import Sampling
from treeroll.weights.check import MARKER, CheckedWeights

pytestmark = [pytest.mark.asyncio(loop_scope="module")]

TOKENIZER = Detokenizer(MODEL_DIR).tokenizer
PROMPT = list(TOKENIZER.encode("Compute 76+99-18+45.\n").ids)
TO_THE_END = Sampling(ignore_eos=True)
STEP_S = 0.004  # of the simulated engine: requests outlast the reading of a directory, on a busy machine too
TOLERANCE = 2e-3
BLOCK = 32
NUMBERS = count()
NORM = "model.norm.weight"


@dataclass
class Version:
    """Weights that were published, and are remembered."""

    number: int
    directory: Path
    tensors: dict[str, np.ndarray]


class Reference:
    """Logprobs of the weights of a version, by another way than the engine's."""

    def __init__(self, engine: str, model_dir: Path, directories: dict[int, Path]) -> None:
        self.engine = engine
        self.model_dir = model_dir
        self.models = ReferenceModels(model_dir, directories)

    async def logprobs(self, version: Version, ids: list[int], prompt: int, seed: int) -> list[float]:
        """Of ids[prompt:], given what is before each."""
        if self.engine == "simulated":
            return await self._simulated(version, ids, prompt, seed)
        found = await asyncio.to_thread(self.models.logprobs, ids, [version.number] * len(ids))
        return found[prompt - 1 :].tolist()

    async def _simulated(self, version: Version, ids: list[int], prompt: int, seed: int) -> list[float]:
        other = make_engine(engine_config("simulated", self.model_dir, step_s=0.0), Detokenizer(MODEL_DIR), "ref", 1)
        await other.start()
        if version.number:
            await other.stage_weights(version.number, str(version.directory))
            await other.flip_weights(version.number)
        one = [await run(other, ask(ids[:at], at + 1, seed, len(PROMPT))) for at in range(prompt, len(ids))]
        await other.shutdown()
        # Another token is another text: as far from these weights as can be.
        pairs = zip(one, ids[prompt:], strict=True)
        return [said.logprobs[0] if said.token_ids[0] == token else -100.0 for said, token in pairs]


def engine_config(engine: str, model_dir: Path, step_s: float = STEP_S) -> GeneratorConfig:
    latency = SimulatedLatency(step_s=step_s, prefill_token_s=0.0)
    return GeneratorConfig(
        engine="simulated" if engine == "simulated" else "vllm",
        model=model_dir,
        slots=16,
        kv_cache_gib=0.25,
        simulated=latency,
    )


class Bench:
    """An engine, and the versions it has had."""

    def __init__(self, kind: str, folder: Path) -> None:
        self.kind = kind
        self.folder = folder
        self.model_dir = untied(folder / "model") if kind == "vllm-untied" else MODEL_DIR
        self.engine: Engine = make_engine(engine_config(kind, self.model_dir), Detokenizer(MODEL_DIR), "r0", 1)
        self.base = load_file(self.model_dir / "model.safetensors")
        self.versions = {0: Version(0, self.model_dir, self.base)}
        self.directories: dict[int, Path] = {}
        self.reference = Reference(kind, self.model_dir, self.directories)
        self.rng = np.random.default_rng(7)

    @property
    def current(self) -> int:
        return self.engine.weight_version

    def changed(self) -> dict[str, np.ndarray]:
        """The model's weights after a step that nobody would take, with logits a third as large.

        The demo's model is so sure of its tokens that whatever one version samples, another would nearly as surely.
        The simulated engine goes by the digest alone: for it any change will do.
        """
        step = 0.02 if self.kind == "simulated" else 0.01
        moved = {name: a + self.rng.normal(0, step, a.shape).astype(a.dtype) for name, a in self.base.items()}
        return moved if self.kind == "simulated" else {**moved, NORM: moved[NORM] / 3}

    def saved(self, tensors: dict[str, np.ndarray] | None = None) -> Version:
        number = max(self.versions) + 1
        made = Version(number, self.folder / f"v{number}", tensors or self.changed())
        treeroll.save_weights(made.tensors, made.directory)
        self.versions[number] = made
        self.directories[number] = made.directory
        return made

    async def update(self, tensors: dict[str, np.ndarray] | None = None, recompute: bool = False) -> Version:
        made = self.saved(tensors)
        digest = await self.engine.stage_weights(made.number, str(made.directory))
        await self.engine.flip_weights(made.number, recompute)
        assert (self.current, self.engine.weight_digest) == (made.number, digest)
        return made

    async def errors(self, request: EngineRequest, got: Delta, version: int) -> np.ndarray:
        """How far each logprob is from those of one version."""
        prefix = array("i", request.prefix_ids).tolist()
        ids = [*prefix, *got.token_ids]
        expected = await self.reference.logprobs(self.versions[version], ids, len(prefix), request.seed)
        return np.abs(np.array(got.logprobs) - np.array(expected))

    async def check(self, request: EngineRequest, got: Delta) -> None:
        """Each token is of the version that its span names."""
        assert sum(span.tokens for span in got.spans) == len(got.token_ids)
        for version, tokens in tokens_of(got).items():
            assert (await self.errors(request, got, version))[tokens].max() < TOLERANCE


def untied(folder: Path) -> Path:
    """The demo model with an output head of its own."""
    shutil.copytree(MODEL_DIR, folder)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "tie_word_embeddings": False}))
    tensors = load_file(folder / "model.safetensors")
    noise = np.random.default_rng(3).normal(0, 0.01, tensors["model.embed_tokens.weight"].shape)
    tensors["lm_head.weight"] = (tensors["model.embed_tokens.weight"] + noise).astype(np.float32)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


def tokens_of(got: Delta) -> dict[int, list[int]]:
    """Places of tokens by the version that their span names."""
    labels = [span.version for span in got.spans for _ in range(span.tokens)]
    return {version: [i for i, label in enumerate(labels) if label == version] for version in labels}


def joined(spans: Iterable[VersionSpan]) -> list[VersionSpan]:
    kept: list[VersionSpan] = []
    for span in spans:
        if kept and (kept[-1].version, kept[-1].kv_mixed) == (span.version, span.kv_mixed):
            kept[-1] = span._replace(tokens=kept[-1].tokens + span.tokens)
        else:
            kept.append(span)
    return kept


def ask(prefix: list[int], max_total: int, seed: int = 0, prompt_tokens: int | None = None) -> EngineRequest:
    ids = array("i", prefix).tobytes()
    return EngineRequest(f"w{next(NUMBERS)}", ids, prompt_tokens or len(prefix), max_total, TO_THE_END, seed)


async def run(engine: Engine, request: EngineRequest, taken: list[int] | None = None) -> Delta:
    """All deltas of a request in one; `taken` counts its tokens as they come."""
    deltas = []
    async for delta in engine.generate(request):
        deltas.append(delta)
        if taken is not None:
            taken.extend(delta.token_ids)
    return Delta(
        [token for delta in deltas for token in delta.token_ids],
        [logprob for delta in deltas for logprob in delta.logprobs],
        joined(span for delta in deltas for span in delta.spans),
        cached_tokens=deltas[0].cached_tokens,
        finish=deltas[-1].finish,
    )


KINDS = [
    "simulated",
    pytest.param("vllm-tied", marks=pytest.mark.vllm),
    pytest.param("vllm-untied", marks=pytest.mark.vllm),
]


# For what an engine decides before its head matters.
ONE_HEAD = pytest.mark.parametrize("bench", KINDS[:2], indirect=True)


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=KINDS)
async def bench(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Bench]:
    bench = Bench(request.param, tmp_path_factory.mktemp("weights"))
    await bench.engine.start()
    yield bench
    await bench.engine.shutdown()


class InFlight:
    """Requests that run, and go on through whatever happens."""

    def __init__(self, bench: Bench, number: int, tokens: int = 300) -> None:
        self.bench = bench
        self.asked = [ask(PROMPT, len(PROMPT) + tokens, seed) for seed in range(number)]
        self.taken: list[list[int]] = [[] for _ in self.asked]
        pairs = zip(self.asked, self.taken, strict=True)
        self.tasks = [asyncio.create_task(run(bench.engine, one, taken)) for one, taken in pairs]

    async def have(self, tokens: int) -> None:
        """Each has so many tokens at least."""

        async def far() -> bool:
            return min(map(len, self.taken)) >= tokens or any(task.done() for task in self.tasks)

        await eventually(far)
        assert not any(task.done() for task in self.tasks)

    async def ends(self) -> list[tuple[EngineRequest, Delta]]:
        return list(zip(self.asked, await asyncio.gather(*self.tasks), strict=True))


async def test_what_is_sampled_follows_the_weights_and_goes_back_with_them(bench: Bench) -> None:
    before = ask(PROMPT, len(PROMPT) + 64)
    await bench.check(before, await run(bench.engine, before))
    for tensors in (bench.changed(), bench.changed(), bench.base):
        earlier = bench.current
        made = await bench.update(tensors)
        request = ask(PROMPT, len(PROMPT) + 64)
        got = await run(bench.engine, request)
        assert got.spans == [VersionSpan(made.number, 64)]
        await bench.check(request, got)
        assert (await bench.errors(request, got, earlier)).max() > 10 * TOLERANCE, "the versions cannot be told apart"


@pytest.mark.parametrize("recompute", [False, True])
async def test_requests_that_run_through_a_change_say_to_the_token_which_weights_made_what(
    bench: Bench, recompute: bool
) -> None:
    old = bench.current
    flight = InFlight(bench, 6, tokens=700)
    await flight.have(20)
    new = (await bench.update(recompute=recompute)).number
    late = ask(PROMPT, len(PROMPT) + 40, seed=99)
    after = await run(bench.engine, late)
    assert after.spans == [VersionSpan(new, 40)], "who begins later has nothing of before"
    await bench.check(late, after)
    told_apart = 0
    for request, got in await flight.ends():
        assert [(span.version, span.kv_mixed) for span in got.spans] == [(old, False), (new, not recompute)]
        cut = got.spans[0].tokens
        by_old, by_new = [await bench.errors(request, got, version) for version in (old, new)]
        assert by_old[:cut].max() < TOLERANCE
        told_apart += by_old[cut] > TOLERANCE  # a label one token late would be seen
        if recompute or bench.kind == "simulated":  # without KV it has none of older weights
            assert by_new[cut:].max() < TOLERANCE
            told_apart += by_new[cut - 1] > TOLERANCE  # and one too early
        else:
            assert by_new[cut:].max() > TOLERANCE, "nothing shows that KV was kept: this test shows nothing"
    assert told_apart >= 3


async def test_kv_that_was_computed_again_is_mixed_no_more(bench: Bench) -> None:
    old = bench.current
    flight = InFlight(bench, 2, tokens=600)
    await flight.have(20)
    first = (await bench.update()).number
    await flight.have(120)
    second = (await bench.update(recompute=True)).number
    for request, got in await flight.ends():
        assert [(span.version, span.kv_mixed) for span in got.spans] == [(old, False), (first, True), (second, False)]
        exact = replace(got, spans=[got.spans[0], got.spans[2]])
        start = got.spans[0].tokens + got.spans[1].tokens
        assert (await bench.errors(request, exact, second))[start:].max() < TOLERANCE


async def test_no_version_reads_the_kv_of_another(bench: Bench) -> None:
    prefix = (PROMPT * 10)[: 4 * BLOCK + 1]

    async def cached() -> int | None:
        return (await run(bench.engine, ask(prefix, len(prefix) + 1))).cached_tokens

    weights = bench.changed()
    for tensors in (weights, bench.changed(), weights):
        await bench.update(tensors)
        assert [await cached(), await cached()] == [0, 4 * BLOCK]


@ONE_HEAD
async def test_a_request_that_is_made_while_weights_change_begins_with_the_new_ones(bench: Bench) -> None:
    made = bench.saved()
    await bench.engine.stage_weights(made.number, str(made.directory))
    flight = InFlight(bench, 2, tokens=100)
    await flight.have(1)
    change = asyncio.create_task(bench.engine.flip_weights(made.number))
    await asyncio.sleep(0)
    request = ask(PROMPT, len(PROMPT) + 30)
    running = asyncio.create_task(run(bench.engine, request))
    while not change.done():
        assert not bench.engine.errored, "a change is no failure"
        await asyncio.sleep(0.001)
    await change
    got = await running
    assert got.spans == [VersionSpan(made.number, 30)]
    await bench.check(request, got)
    await flight.ends()


@ONE_HEAD
async def test_an_engine_that_was_paused_takes_weights_and_stays_paused(bench: Bench) -> None:
    flight = InFlight(bench, 2)
    await flight.have(20)
    await bench.engine.pause()
    made = await bench.update(recompute=True)
    seen = [len(taken) for taken in flight.taken]
    assert not any(task.done() for task in flight.tasks)
    await bench.engine.resume()
    for (_, got), tokens in zip(await flight.ends(), seen, strict=True):
        assert tokens <= got.spans[0].tokens
        assert got.spans[-1].version == made.number


@ONE_HEAD
async def test_taking_the_version_in_use_again_changes_nothing(bench: Bench) -> None:
    made = await bench.update()
    await bench.engine.flip_weights(made.number)
    assert bench.current == made.number


@ONE_HEAD
async def test_only_what_is_staged_is_taken_and_versions_grow(bench: Bench) -> None:
    made, other = await bench.update(), bench.saved()
    for lower in (0, made.number - 1, made.number):
        with pytest.raises(InvalidInput, match=f"weight version {lower} is not above {made.number}, which is in use"):
            await bench.engine.stage_weights(lower, str(other.directory))
    await bench.engine.stage_weights(other.number, str(other.directory))
    for version in (made.number - 1, other.number + 1):
        with pytest.raises(InvalidInput, match=f"weight version {version} is not staged here"):
            await bench.engine.flip_weights(version)
    await bench.engine.flip_weights(other.number)
    assert bench.current == other.number


@ONE_HEAD
async def test_the_last_version_staged_is_the_one(bench: Bench) -> None:
    first, second = bench.saved(), bench.saved()
    staging = [bench.engine.stage_weights(one.number, str(one.directory)) for one in (first, second)]
    given_up, digest = await asyncio.gather(*staging, return_exceptions=True)
    assert isinstance(given_up, InvalidInput)
    assert "a later one took its place" in str(given_up)
    assert isinstance(digest, str)
    with pytest.raises(InvalidInput, match="is not staged here"):
        await bench.engine.flip_weights(first.number)
    await bench.engine.flip_weights(second.number)


def _cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-100])


BAD = {
    "tensor missing": (lambda tensors: tensors.pop(NORM), None, f"tensor {NORM} is in none of the files"),
    "tensor too many": (lambda tensors: tensors.update(more=tensors[NORM] + 1), None, "tensor more of"),
    "not finite": (lambda tensors: tensors.update({NORM: tensors[NORM] * np.nan}), None, "not finite"),
    "another shape": (lambda tensors: tensors.update({NORM: tensors[NORM][1:]}), None, "and the model's is F32 [128]"),
    "another dtype": (lambda tensors: tensors.update({NORM: tensors[NORM].astype("f2")}), None, "is F16 [128]"),
    "cut short": (None, _cut, "it was not written whole"),
    "not marked": (None, lambda file: (file.parent / MARKER).unlink(), "no file STABLE"),
    "no file": (None, Path.unlink, "there is no safetensors file"),
    "another digest": (None, lambda file: (file.parent / MARKER).write_text("0" * 64), "their digest is"),
}


@ONE_HEAD
@pytest.mark.parametrize("case", BAD)
async def test_a_bad_directory_is_refused_and_the_engine_goes_on_with_what_it_has(bench: Bench, case: str) -> None:
    spoil_tensors, spoil_file, why = BAD[case]
    version, digest = bench.current, bench.engine.weight_digest
    flight = InFlight(bench, 1, tokens=60)
    tensors = bench.changed()
    if spoil_tensors is not None:
        spoil_tensors(tensors)
    made = bench.saved(tensors)
    if spoil_file is not None:
        spoil_file(made.directory / "model.safetensors")
    with pytest.raises(BadWeights) as refused:
        await bench.engine.stage_weights(made.number, str(made.directory))
    assert why in str(refused.value)
    assert str(made.directory) in str(refused.value)
    with pytest.raises(InvalidInput, match="is not staged here"):
        await bench.engine.flip_weights(made.number)
    assert (bench.current, bench.engine.weight_digest, bench.engine.errored) == (version, digest, False)
    [(request, got)] = await flight.ends()
    assert got.spans == [VersionSpan(version, 60)]
    await bench.check(request, got)


@ONE_HEAD
async def test_a_directory_that_changed_after_it_was_staged_is_not_taken(bench: Bench) -> None:
    version, made = bench.current, bench.saved()
    await bench.engine.stage_weights(made.number, str(made.directory))
    _cut(made.directory / "model.safetensors")
    with pytest.raises(BadWeights, match="files have changed since they were checked"):
        await bench.engine.flip_weights(made.number)
    assert (bench.current, bench.engine.errored) == (version, False)
    request = ask(PROMPT, len(PROMPT) + 30)
    await bench.check(request, await run(bench.engine, request))


async def test_a_load_that_fails_in_the_middle_is_the_engines_end(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last test of each engine."""
    if bench.kind == "simulated":
        bench.engine.die("as vLLM would")  # type: ignore[attr-defined]
        with pytest.raises(EngineError):
            await bench.engine.flip_weights(1)
        return
    version, made = bench.current, bench.saved()
    flight = InFlight(bench, 2, tokens=700)
    await flight.have(1)
    await bench.engine.stage_weights(made.number, str(made.directory))
    file = made.directory / "model.safetensors"

    def change() -> None:
        if bench.kind == "vllm-tied":
            _cut(file)  # vLLM raises
        else:
            save_file({NORM: made.tensors[NORM]}, file)  # vLLM calls it a success

    # It happens between our last look and vLLM's reading, for which hardly anybody would be fast enough.
    looks, unchanged = iter([change]), CheckedWeights.ensure_unchanged
    monkeypatch.setattr(CheckedWeights, "ensure_unchanged", lambda self: next(looks, lambda: unchanged(self))())
    with pytest.raises(EngineError, match=f"could not load weight version {made.number} from {made.directory}"):
        await bench.engine.flip_weights(made.number)
    assert bench.engine.errored
    assert bench.current == version
    with pytest.raises(EngineError):
        await run(bench.engine, ask(PROMPT, len(PROMPT) + 4))
    seen = [len(taken) for taken in flight.taken]
    await bench.engine.shutdown()  # whatever it had decoded meanwhile would be delivered by then
    for task in flight.tasks:
        task.cancel()
    await asyncio.gather(*flight.tasks, return_exceptions=True)
    assert [len(taken) for taken in flight.taken] == seen, "nothing is decoded with half of the weights"
