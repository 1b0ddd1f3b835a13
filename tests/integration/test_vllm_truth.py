"""Truth of the record: what vLLM is recorded to have sampled is what the model says, token by token."""

from collections.abc import AsyncIterator

import numpy as np
import pytest
import pytest_asyncio
import torch
from tests.support.local_service import local_service
from transformers import AutoModelForCausalLM

from treeroll.client import connect_async
from treeroll.client.records import Sample, TreeRecord
from treeroll.client.status import RunStatus
from treeroll.demo import MODEL_DIR, TASKS_FILE
from treeroll.generator.config import GeneratorConfig
from treeroll.generator.vllm_engine import VllmEngine
from treeroll.tasks import read_tasks

pytestmark = [pytest.mark.vllm, pytest.mark.timeout(300), pytest.mark.asyncio(loop_scope="module")]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def grown() -> AsyncIterator[tuple[list[TreeRecord], RunStatus]]:
    """Trees of 16 tasks from one real engine."""
    async with local_service() as service:
        service.serve_engine(VllmEngine(GeneratorConfig(slots=64, seed=11), seed=11), "r0")
        client = await connect_async(service.address)
        run = await client.create_run(
            "run", recipe="treepo", leaves=8, segment_tokens=32, max_depth=14, scorer="arith", top_logprobs=5
        )
        await run.submit(read_tasks(TASKS_FILE, limit=16))
        await run.close()
        trees = [tree async for batch in run.batches() for tree in batch.trees]
        assert (await client.audit()).violations == []
        yield trees, await run.status()


def model_logprobs(samples: list[Sample]) -> list[np.ndarray]:
    """Logprobs of each completion under the same weights in transformers, float32."""
    model = AutoModelForCausalLM.from_pretrained(str(MODEL_DIR), dtype=torch.float32)
    found = []
    with torch.inference_mode():
        for sample in samples:
            ids = torch.tensor([*sample.prompt_ids, *sample.completion_ids], dtype=torch.long)
            logits = model(ids[None]).logits[0].log_softmax(-1)
            start = len(sample.prompt_ids)
            found.append(logits[start - 1 : -1].gather(1, ids[start:, None])[:, 0].numpy())
    return found


async def test_recorded_logprobs_are_those_of_the_model(grown: tuple[list[TreeRecord], RunStatus]) -> None:
    samples = [sample for tree in grown[0] for sample in tree.samples][:100]
    assert len(samples) == 100
    for sample, truth in zip(samples, model_logprobs(samples), strict=True):
        np.testing.assert_allclose(sample.logprobs, truth, atol=2e-3)


async def test_a_sample_is_the_concatenation_of_its_path(grown: tuple[list[TreeRecord], RunStatus]) -> None:
    for tree in grown[0]:
        nodes = {node.node_id: node for node in tree.nodes}
        for sample in tree.samples:
            path = [nodes[node_id] for node_id in sample.path_node_ids]
            assert np.concatenate([node.token_ids for node in path]).tolist() == sample.completion_ids.tolist()
            assert [node.token_start - len(sample.prompt_ids) for node in path] == list(sample.path_offsets)
            for node in path[:-1]:
                assert (node.token_start + len(node.token_ids)) % 32 == 1


async def test_forks_recompute_exactly_one_token(grown: tuple[list[TreeRecord], RunStatus]) -> None:
    trees, status = grown
    assert status.fork_requests > 50
    assert status.fork_recomputed_tokens == status.fork_requests
    for tree in trees:
        for node in tree.nodes:
            if node.cached_tokens is not None and node.depth > 1 and node.attempt == 1:
                assert node.token_start - node.cached_tokens == 1


async def test_leaves_end_as_the_demo_model_ends_and_get_rewards(grown: tuple[list[TreeRecord], RunStatus]) -> None:
    samples = [sample for tree in grown[0] for sample in tree.samples]
    assert len(samples) == 16 * 8
    assert {sample.reward for sample in samples} == {0.0, 1.0}
    boxed = [sample for sample in samples if sample.stop_reason == "answer"]
    assert len(boxed) > len(samples) / 2
    assert all("\\boxed{" in sample.completion_text for sample in boxed)
