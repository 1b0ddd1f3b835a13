"""The bench's own engine: its tokens have the logprobs of transformers, its draws depend on seeds alone."""

import asyncio
from array import array
from collections.abc import AsyncIterator
from itertools import count

import pytest
import pytest_asyncio

torch = pytest.importorskip("torch")

from treeroll.bench.learning.network import Network  # noqa: E402
from treeroll.bench.learning.torch_engine import TorchEngine  # noqa: E402
from treeroll.demo import MODEL_DIR  # noqa: E402
from treeroll.errors import EngineError, InvalidInput  # noqa: E402
from treeroll.generator.detokenizer import Detokenizer  # noqa: E402
from treeroll.generator.engine import Delta, EngineRequest  # noqa: E402
from treeroll.sampling import Sampling  # noqa: E402

pytestmark = [pytest.mark.asyncio(loop_scope="module")]
EOS = 1
NUMBERS = count()


@pytest.fixture(scope="module")
def network() -> Network:
    return Network.load(MODEL_DIR)


@pytest.fixture(scope="module")
def prompt() -> list[int]:
    return list(Detokenizer(MODEL_DIR).tokenizer.encode("Compute 12+34-5.\n").ids)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def engine(network: Network) -> AsyncIterator[TorchEngine]:
    engine = TorchEngine(network, "demo", slots=6, longest=256)
    await engine.start()
    yield engine
    await engine.shutdown()


def ask(prefix: list[int], max_total: int = 250, seed: int = 1, tree: str = "", **sampling: object) -> EngineRequest:
    wanted = Sampling(**{"stop_token_ids": (EOS,), **sampling})  # type: ignore[arg-type]
    return EngineRequest(
        f"q{next(NUMBERS)}", array("i", prefix).tobytes(), len(prefix), max_total, wanted, seed, "", 0, tree
    )


async def run(engine: TorchEngine, request: EngineRequest) -> Delta:
    deltas = [delta async for delta in engine.generate(request)]
    ids = [token for delta in deltas for token in delta.token_ids]
    logprobs = [logprob for delta in deltas for logprob in delta.logprobs]
    return Delta(ids, logprobs, [], None, deltas[0].cached_tokens, deltas[-1].finish)


async def test_logprobs_are_those_of_transformers(engine: TorchEngine, prompt: list[int]) -> None:
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(MODEL_DIR, dtype=torch.float32)
    found = await asyncio.gather(*(run(engine, ask(prompt, seed=seed, tree="t", temperature=0.8)) for seed in range(9)))
    for one in found:
        ids = torch.tensor([[*prompt, *one.token_ids]])
        with torch.inference_mode():
            logprobs = (model(input_ids=ids).logits[0, :-1] / 0.8).log_softmax(-1)
        wanted = logprobs.gather(1, ids[0, 1:, None])[len(prompt) - 1 :, 0]
        assert torch.allclose(torch.tensor(one.logprobs), wanted, atol=2e-4)
        assert (one.finish, one.token_ids[-1]) == ("eos", EOS)


async def test_draws_depend_on_the_seed_and_not_on_company(engine: TorchEngine, prompt: list[int]) -> None:
    alone = await run(engine, ask(prompt, seed=7, temperature=2.0))
    together = await asyncio.gather(
        *(run(engine, ask(prompt, seed=seed, tree="t", temperature=2.0)) for seed in (5, 6, 7, 8))
    )
    assert together[2].token_ids == alone.token_ids
    assert len({tuple(one.token_ids) for one in together}) > 1


async def test_a_request_goes_on_where_another_is(engine: TorchEngine, prompt: list[int]) -> None:
    """From a prefix that a running request has, by copy, and from one that nobody has, computed: the same."""
    first = await run(engine, ask(prompt, seed=3))
    prefix = [*prompt, *first.token_ids[:20]]
    computed = await run(engine, ask(prefix, seed=9))
    running = engine.generate(ask(prompt, seed=3, tree="t"))
    told = 0
    async for delta in running:
        told += len(delta.token_ids)
        if told >= 20:
            break
    copied = await run(engine, ask(prefix, seed=9, tree="t"))
    await running.aclose()
    assert copied.token_ids == computed.token_ids
    assert (computed.cached_tokens, copied.cached_tokens) == (0, len(prefix) - 1)


async def test_it_ends_at_the_longest_total_and_on_request(engine: TorchEngine, prompt: list[int]) -> None:
    short = await run(engine, ask(prompt, max_total=len(prompt) + 5))
    assert (len(short.token_ids), short.finish) == (5, "length")
    request = ask(prompt)
    stream = engine.generate(request)
    await anext(stream)
    await engine.abort([request.request_id, "nobody"])
    assert [delta.finish async for delta in stream][-1] == "abort"


@pytest.mark.parametrize("sampling", [{"top_p": 0.9}, {"temperature": 0.0}, {"min_tokens": 3}, {"top_logprobs": 5}])
async def test_it_refuses_what_it_cannot_do(engine: TorchEngine, prompt: list[int], sampling: dict) -> None:
    with pytest.raises(InvalidInput):
        await run(engine, ask(prompt, **sampling))


async def test_one_that_was_shut_down_says_so(network: Network, prompt: list[int]) -> None:
    engine = TorchEngine(network, "demo", slots=2, longest=256)
    await engine.start()
    waiting = asyncio.create_task(run(engine, ask(prompt)))
    await asyncio.sleep(0)
    await engine.shutdown()
    with pytest.raises(EngineError):
        await waiting
    with pytest.raises(EngineError):
        await run(engine, ask(prompt))
    assert engine.errored
