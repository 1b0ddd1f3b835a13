"""The simulated engine: what it writes, what it caches, and how it keeps time."""

import asyncio
from array import array
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from treeroll.demo import MODEL_DIR
from treeroll.errors import EngineError, InvalidInput
from treeroll.generator.config import SimulatedLatency
from treeroll.generator.detokenizer import Detokenizer
from treeroll.generator.engine import EngineRequest
from treeroll.generator.simulated_cache import BlockCache, Holding
from treeroll.generator.simulated_engine import LETTERS, SimulatedEngine
from treeroll.generator.simulated_text import Writer, chain_of
from treeroll.sampling import Sampling

TOKENIZER = Detokenizer(MODEL_DIR).tokenizer
PROMPT = TOKENIZER.encode("Compute 12+4*6-30.\n").ids


def write(chain: str, written: str, seed: int) -> str:
    return "".join(piece.text for piece in Writer(chain, written, seed))


@given(st.integers(0, 2**64 - 1), st.integers(0, 2**64 - 1), st.data())
def test_a_fork_reads_on_and_a_second_try_repeats_the_first(seed: int, other: int, data: st.DataObject) -> None:
    text = write("839*47+512-66*71", "", seed)
    at = data.draw(st.integers(0, len(text)))
    assert write("839*47+512-66*71", text[:at], seed) == text[at:]
    forked = text[:at] + write("839*47+512-66*71", text[:at], other)
    assert forked.endswith("}.")
    assert set(forked) <= set(LETTERS)
    again = data.draw(st.integers(at, len(forked)))
    assert write("839*47+512-66*71", forked[:again], other) == forked[again:]


@given(st.text(LETTERS, max_size=60), st.integers(0, 99))
def test_it_finds_its_way_out_of_any_text(written: str, seed: int) -> None:
    assert write("3-20*9", written, seed).endswith("}.")


def test_answers_vary_with_the_seed_and_hard_tasks_fail_more_often() -> None:
    def right(chain: str, answer: int) -> int:
        return sum(write(chain, "", seed).endswith(f"boxed{{{answer}}}.") for seed in range(200))

    easy, hard = right("29-4-20", 5), right("123*45+67*89", 11498)
    assert 150 < easy < 200
    assert 5 < hard < 120


def test_lengths_have_a_long_tail() -> None:
    lengths = sorted(len(write("29-4-20", "", seed)) for seed in range(400))
    assert lengths[-1] > 3 * lengths[200]


def test_any_prompt_has_a_task() -> None:
    assert chain_of("Please compute. Compute 1+2*3.", b"") == "1+2*3"
    assert chain_of("What is love?", b"abc") == chain_of("What is love?", b"abc")
    assert write(chain_of("What is love?", b"abc"), "", 1).endswith("}.")


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(1, 60), st.integers(0, 40)), max_size=40))
def test_the_cache_never_holds_more_than_it_has(steps: list[tuple[int, int, int]]) -> None:
    cache = BlockCache(blocks=16, block_size=4)
    held: list[Holding] = []
    for salt, length, growth in steps:
        ids = array("i", range(length))
        admitted = cache.admit(str(salt % 2), ids)
        if admitted is None:
            if held:
                cache.release(held.pop(0))
            continue
        holding, cached = admitted
        assert cached % 4 == 0
        assert cached < length
        ids.extend(range(length, length + growth))
        cache.grow(holding, str(salt % 2), ids)
        held.append(holding)
        assert cache.used + len(cache._idle) <= 16
    for holding in held:
        cache.release(holding)
    assert cache.used == 0
    assert not cache._users


def ask(name: str, max_total: int = 200, prefix: list[int] = PROMPT, seed: int = 0) -> EngineRequest:
    sampling = Sampling(ignore_eos=True)
    return EngineRequest(name, array("i", prefix).tobytes(), len(PROMPT), max_total, sampling, seed)


class Time:
    """A clock that only sleeping moves."""

    def __init__(self) -> None:
        self.now = 0.0

    async def sleep(self, seconds: float) -> None:
        self.now += seconds
        await asyncio.sleep(0)


async def total_s(time: Time, requests: int, latency: SimulatedLatency, slots: int = 64) -> float:
    engine = SimulatedEngine(TOKENIZER, slots=slots, latency=latency, sleep=time.sleep)
    await engine.start()

    async def consume(request: EngineRequest) -> None:
        async for _ in engine.generate(request):
            pass

    start = time.now
    await asyncio.gather(*(consume(ask(f"q{i}", len(PROMPT) + 64, seed=i)) for i in range(requests)))
    await engine.shutdown()
    return time.now - start


async def test_a_step_costs_the_same_up_to_the_knee() -> None:
    latency = SimulatedLatency(step_s=0.01, knee=8, prefill_token_s=0.0, jitter=0.0)
    assert await total_s(Time(), 1, latency) == pytest.approx(0.64)
    assert await total_s(Time(), 8, latency) == pytest.approx(0.64)
    assert await total_s(Time(), 16, latency) == pytest.approx(1.28)
    assert await total_s(Time(), 16, latency, slots=8) == pytest.approx(1.28)


async def test_what_a_request_says_depends_on_nothing_but_its_seed_and_prefix() -> None:
    said = Counter[tuple[int, ...]]()
    for slots, kv_tokens, jitter in ((64, 1 << 20, 0.0), (2, 1 << 20, 0.9), (8, 20 * 32, 0.1)):
        latency = SimulatedLatency(step_s=0.001, jitter=jitter)
        engine = SimulatedEngine(TOKENIZER, slots=slots, kv_tokens=kv_tokens, latency=latency, sleep=Time().sleep)
        await engine.start()

        async def consume(request: EngineRequest, engine: SimulatedEngine = engine) -> tuple[int, ...]:
            return tuple([token async for delta in engine.generate(request) for token in delta.token_ids])

        said.update(await asyncio.gather(*(consume(ask(f"q{i}", seed=i)) for i in range(8))))
        assert engine.stats().kv_usage <= 1.0
        await engine.shutdown()
    assert set(said.values()) == {3}
    assert len(said) == 8


async def test_when_kv_runs_out_somebody_is_preempted_and_finishes_later() -> None:
    engine = SimulatedEngine(TOKENIZER, kv_tokens=10 * 32, latency=SimulatedLatency(step_s=0.001), sleep=Time().sleep)
    await engine.start()

    async def consume(request: EngineRequest) -> int:
        return sum([len(delta.token_ids) async for delta in engine.generate(request)])

    sizes = await asyncio.gather(*(consume(ask(f"q{i}", 250)) for i in range(4)))
    assert sizes == [250 - len(PROMPT)] * 4
    assert engine.stats().preempted > 0
    assert engine.stats().kv_usage == 0.0
    await engine.shutdown()


async def test_a_dead_engine_fails_its_requests_and_refuses_new_ones() -> None:
    engine = SimulatedEngine(TOKENIZER)
    await engine.start()
    running = engine.generate(ask("q0"))
    waiting = asyncio.ensure_future(anext(running))
    await asyncio.sleep(0)
    engine.die("lightning")
    assert engine.errored
    with pytest.raises(EngineError, match="lightning"):
        await waiting
    with pytest.raises(EngineError, match="lightning"):
        await anext(engine.generate(ask("q1")))
    await engine.shutdown()


def test_a_tokenizer_without_single_characters_is_refused() -> None:
    from tokenizers import Tokenizer, models

    with pytest.raises(InvalidInput, match="token per character"):
        SimulatedEngine(Tokenizer(models.BPE(vocab={"a": 0}, merges=[])))
