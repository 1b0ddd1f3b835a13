"""Truth of the record: what vLLM is recorded to have sampled is what the model says, token by token."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass

import numpy as np
import pytest
import pytest_asyncio
import torch
from tests.support.pace import PATIENT
from transformers import AutoModelForCausalLM

from treeroll.client import connect_async
from treeroll.client.records import Sample, TreeRecord
from treeroll.client.status import RunStatus
from treeroll.demo import MODEL_DIR, TASKS_FILE
from treeroll.generator.config import GeneratorConfig
from treeroll.generator.vllm_engine import VllmEngine
from treeroll.tasks import read_tasks
from treeroll.testing.service import local_service

pytestmark = [pytest.mark.vllm, pytest.mark.asyncio(loop_scope="module")]


@dataclass
class Grown:
    """Trees of 16 tasks at temperature 1, and of 4 at 0.8 whose forks are hotter."""

    trees: list[TreeRecord]
    status: RunStatus
    hotter: list[TreeRecord]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def grown() -> AsyncIterator[Grown]:
    """From one real engine."""
    async with local_service(coordinator=PATIENT) as service:
        service.serve_engine(VllmEngine(GeneratorConfig(slots=64, seed=11), seed=11), "r0")
        client = await connect_async(service.address)
        run = await client.create_run(
            "run", recipe="treepo", leaves=8, segment_tokens=32, max_depth=14, scorer="arith", top_logprobs=5
        )
        hot = await client.create_run(
            "hot", recipe="spo", leaves=8, segment_tokens=32, max_depth=4, temperature=0.8, scorer="arith",
            segment={"name": "fixed"}, branch={"fanouts": [2, 4], "temperature_step": 0.5},
        )  # fmt: skip
        await run.submit(read_tasks(TASKS_FILE, limit=16))
        await hot.submit(read_tasks(TASKS_FILE, limit=4))
        await run.close()
        await hot.close()
        trees, hotter = [[tree async for batch in r.batches() for tree in batch.trees] for r in (run, hot)]
        assert (await client.audit()).violations == []
        yield Grown(trees, await run.status(), hotter)


def model_logprobs(samples: list[Sample], temperatures: Sequence[np.ndarray | float]) -> list[np.ndarray]:
    """Logprobs of each completion under the same weights in transformers, float32, at temperatures per token."""
    model = AutoModelForCausalLM.from_pretrained(str(MODEL_DIR), dtype=torch.float32)
    found = []
    with torch.inference_mode():
        for sample, temperature in zip(samples, temperatures, strict=True):
            ids = torch.tensor([*sample.prompt_ids, *sample.completion_ids], dtype=torch.long)
            start = len(sample.prompt_ids)
            logits = model(ids[None]).logits[0, start - 1 : -1] / torch.tensor(temperature).reshape(-1, 1)
            found.append(logits.log_softmax(-1).gather(1, ids[start:, None])[:, 0].numpy())
    return found


async def test_recorded_logprobs_are_those_of_the_model(grown: Grown) -> None:
    samples = [sample for tree in grown.trees for sample in tree.samples][:100]
    assert len(samples) == 100
    for sample, truth in zip(samples, model_logprobs(samples, [1.0] * 100), strict=True):
        np.testing.assert_allclose(sample.logprobs, truth, atol=2e-3)


async def test_every_branch_was_sampled_at_the_temperature_its_nodes_say(grown: Grown) -> None:
    nodes = {node.node_id: node for tree in grown.hotter for node in tree.nodes}
    assert {round(node.temperature, 4) for node in nodes.values()} == {0.8, 1.2}
    samples = [sample for tree in grown.hotter for sample in tree.samples]
    paths = [[nodes[node_id] for node_id in sample.path_node_ids] for sample in samples]
    temperatures = [np.concatenate([np.full(len(node.token_ids), node.temperature, "f4") for node in p]) for p in paths]
    for sample, truth in zip(samples, model_logprobs(samples, temperatures), strict=True):
        np.testing.assert_allclose(sample.logprobs, truth, atol=2e-3)


async def test_a_sample_is_the_concatenation_of_its_path(grown: Grown) -> None:
    for tree in grown.trees:
        nodes = {node.node_id: node for node in tree.nodes}
        for sample in tree.samples:
            path = [nodes[node_id] for node_id in sample.path_node_ids]
            assert np.concatenate([node.token_ids for node in path]).tolist() == sample.completion_ids.tolist()
            assert [node.token_start - len(sample.prompt_ids) for node in path] == list(sample.path_offsets)
            for node in path[:-1]:
                assert (node.token_start + len(node.token_ids)) % 32 == 1


async def test_forks_recompute_exactly_one_token(grown: Grown) -> None:
    trees, status = grown.trees, grown.status
    assert status.fork_requests > 50
    assert status.fork_recomputed_tokens == status.fork_requests
    for tree in trees:
        for node in tree.nodes:
            if node.cached_tokens is not None and node.depth > 1 and node.attempt == 1:
                assert node.token_start - node.cached_tokens == 1


async def test_leaves_end_as_the_demo_model_ends_and_get_rewards(grown: Grown) -> None:
    samples = [sample for tree in grown.trees for sample in tree.samples]
    assert len(samples) == 16 * 8
    assert {sample.reward for sample in samples} == {0.0, 1.0}
    boxed = [sample for sample in samples if sample.stop_reason == "answer"]
    assert len(boxed) > len(samples) / 2
    assert all("\\boxed{" in sample.completion_text for sample in boxed)
