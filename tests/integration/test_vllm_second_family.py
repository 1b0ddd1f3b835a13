"""A model of another family on a real engine: byte fallback, BOS, a chat template, and two ends of text."""

from collections.abc import AsyncIterator
from datetime import date
from pathlib import Path

import pytest
import pytest_asyncio
from tests.support.auto_tokenizer import auto_ids
from tests.support.llama_model import BOS, EOS, make_llama
from tests.support.pace import PATIENT

from treeroll.client import connect_async
from treeroll.client.records import TreeRecord
from treeroll.generator.config import GeneratorConfig
from treeroll.generator.vllm_engine import VllmEngine
from treeroll.tasks import Task
from treeroll.testing.service import local_service
from treeroll.tokenizer import Tokenizer

pytestmark = [pytest.mark.vllm, pytest.mark.asyncio(loop_scope="module")]

TEXT = "Let us think step by step: 3+5 = 8. 中"
CHAT = [{"role": "user", "content": "What is 12*7? <think>"}]
THINK, END_OF_TURN = 469, 468


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_llama(tmp_path_factory.mktemp("family") / "model")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def trees(model: Path) -> AsyncIterator[dict[str, TreeRecord]]:
    """One tree for each form of a prompt, scored by whether the model writes a special token."""
    chat, _ = Tokenizer.load(model).encode_messages(CHAT, {}, date.min)
    tasks = [Task("text", prompt=TEXT), Task("chat", messages=CHAT), Task("ids", prompt_ids=chat)]
    async with local_service(coordinator=PATIENT, model=model) as service:
        config = GeneratorConfig(model=model, slots=32, kv_cache_gib=0.1, seed=11)
        service.serve_engine(VllmEngine(config, seed=11), "r0")
        client = await connect_async(service.address)
        run = await client.create_run(
            "run", recipe="treepo", leaves=8, segment_tokens=32, max_depth=8, scorer="regex:<think>", seed=3
        )
        await run.submit(tasks)
        await run.close()
        grown = [tree async for batch in run.batches() for tree in batch.trees]
        assert (await client.audit()).violations == []
        yield {tree.task_id: tree for tree in grown}


async def test_prompts_have_the_ids_that_a_trainer_gets(trees: dict[str, TreeRecord], model: Path) -> None:
    text, chat = auto_ids({model: [TEXT]}, {model: [CHAT]})[model]
    found = {name: tree.samples[0].prompt_ids.tolist() for name, tree in trees.items()}
    assert found == {"text": text, "chat": chat, "ids": chat}
    assert text[0] == chat[0] == BOS
    assert trees["ids"].prompt_text == trees["chat"].prompt_text
    assert trees["chat"].prompt_text.endswith("<|end|>\n<|assistant|>\n")


async def test_paths_end_at_each_of_the_models_ends_of_text_and_nowhere_else(trees: dict[str, TreeRecord]) -> None:
    samples = [sample for tree in trees.values() for sample in tree.samples]
    assert len(samples) == 3 * 8
    for sample in samples:
        *before, last = sample.completion_ids.tolist()
        assert not {EOS, END_OF_TURN} & set(before)
        assert (last in (EOS, END_OF_TURN)) == (sample.stop_reason == "eos")
    assert {EOS, END_OF_TURN} <= {int(sample.completion_ids[-1]) for sample in samples}


async def test_scorers_read_special_tokens_but_not_those_that_end_a_text(trees: dict[str, TreeRecord]) -> None:
    samples = [sample for tree in trees.values() for sample in tree.samples]
    assert {sample.reward for sample in samples} == {0.0, 1.0}
    for sample in samples:
        assert sample.reward == (THINK in sample.completion_ids)
        assert ("<think>" in sample.completion_text) == (THINK in sample.completion_ids)
        assert not any(name in sample.completion_text for name in ("</s>", "<|end|>", "<unk>"))
