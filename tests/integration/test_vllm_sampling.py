"""Truth of logprobs under all sampling settings at once: a fork samples from what a branch that ran on would have.

The definition looks at a whole path and knows nothing of requests. vLLM sees a fork's prefix as its prompt.
"""

from collections.abc import AsyncIterator
from typing import Any

import numpy as np
import pytest
import pytest_asyncio
import torch
from tests.support.pace import PATIENT
from transformers import AutoModelForCausalLM

from treeroll.client import connect_async
from treeroll.client.records import Sample, TreeRecord
from treeroll.demo import MODEL_DIR, TASKS_FILE
from treeroll.generator.config import GeneratorConfig
from treeroll.generator.vllm_engine import VllmEngine
from treeroll.tasks import read_tasks
from treeroll.testing.service import local_service
from treeroll.tokenizer import Tokenizer

pytestmark = [pytest.mark.vllm, pytest.mark.timeout(900), pytest.mark.asyncio(loop_scope="module")]

TOKENIZER = Tokenizer.load(MODEL_DIR)
[EOS] = TOKENIZER.eos_token_ids
SAMPLING: dict[str, Any] = {
    "temperature": 0.75, "min_p": 0.0625, "top_k": 12, "top_p": 0.9375, "repetition_penalty": 1.125, "min_tokens": 30,
    "stop": ["\\boxed", "Check"], "stop_token_ids": TOKENIZER.encode_continuation("z"),
}  # fmt: skip


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def trees() -> AsyncIterator[list[TreeRecord]]:
    async with local_service(coordinator=PATIENT) as service:
        service.serve_engine(VllmEngine(GeneratorConfig(slots=32, seed=11, kv_cache_gib=0.25), seed=11), "r0")
        client = await connect_async(service.address)
        shape: dict[str, Any] = {"recipe": "treepo", "leaves": 8, "segment_tokens": 32, "max_depth": 6}
        run = await client.create_run("run", **shape, **SAMPLING)
        await run.submit(read_tasks(TASKS_FILE, limit=6))
        await run.close()
        yield [tree async for batch in run.batches() for tree in batch.trees]


def by_definition(logits: torch.Tensor, ids: torch.Tensor, prompt: int) -> np.ndarray:
    """Logprobs of the completion under SAMPLING. `logits[i]` are for the token behind `ids[: i + 1]`."""
    found = []
    for at in range(prompt, len(ids)):
        row = logits[at - 1].clone()
        if at - prompt < SAMPLING["min_tokens"]:
            row[[EOS, *SAMPLING["stop_token_ids"]]] = -torch.inf
        seen = ids[:at].unique()
        penalty = SAMPLING["repetition_penalty"]
        row[seen] = torch.where(row[seen] > 0, row[seen] / penalty, row[seen] * penalty)
        row /= SAMPLING["temperature"]
        likely = row.softmax(-1)
        row[likely < SAMPLING["min_p"] * likely.max()] = -torch.inf
        row[row < row.topk(SAMPLING["top_k"]).values[-1]] = -torch.inf
        order = row.softmax(-1).sort(descending=True)
        row[order.indices[order.values.cumsum(-1) - order.values > SAMPLING["top_p"]]] = -torch.inf
        found.append(float(row.log_softmax(-1)[ids[at]]))
    return np.array(found)


def samples_of(trees: list[TreeRecord]) -> list[Sample]:
    return [sample for tree in trees for sample in tree.samples]


async def test_recorded_logprobs_are_those_of_the_distribution_that_was_sampled_from(trees: list[TreeRecord]) -> None:
    samples = samples_of(trees)
    assert {node.branch_reason for tree in trees for node in tree.nodes} >= {"initial", "fork"}
    assert {sample.logprobs_mode for sample in samples} == {"processed"}
    model = AutoModelForCausalLM.from_pretrained(str(MODEL_DIR), dtype=torch.float32)
    with torch.inference_mode():
        for sample in samples:
            ids = torch.tensor([*sample.prompt_ids, *sample.completion_ids], dtype=torch.long)
            truth = by_definition(model(ids[None]).logits[0], ids, len(sample.prompt_ids))
            np.testing.assert_allclose(sample.logprobs, truth, atol=2e-3)


async def test_paths_end_as_their_settings_say(trees: list[TreeRecord]) -> None:
    samples = samples_of(trees)
    for sample in samples:
        assert sample.completion_text == TOKENIZER.decode([token for token in sample.completion_ids if token != EOS])
        stops = sample.completion_text.endswith(tuple(SAMPLING["stop"]))
        assert (sample.stop_reason == "stop") == (stops and len(sample.completion_ids) > SAMPLING["min_tokens"])
        assert EOS not in sample.completion_ids[: SAMPLING["min_tokens"]]
        recorded = (sample.min_p, sample.top_k, sample.top_p, sample.repetition_penalty, sample.min_tokens)
        assert recorded == (0.0625, 12, 0.9375, 1.125, 30)
    assert {sample.stop_reason for sample in samples} >= {"stop"}
