"""Runs with stop strings, stop ids and least tokens: paths end there, and trees do not depend on time or place."""

from typing import Any

import numpy as np
import pytest
from tests.integration.test_rollouts_simulated import GROWTHS, grow, rows

from treeroll.client.records import TreeRecord
from treeroll.demo import MODEL_DIR
from treeroll.generator.config import SimulatedLatency
from treeroll.testing.service import local_service
from treeroll.tokenizer import Tokenizer

TOKENIZER = Tokenizer.load(MODEL_DIR)
[EOS] = TOKENIZER.eos_token_ids
# The simulated engine writes "Step 1: 4*6=24, so ...", "Check 4*6=24." and "The answer is \boxed{5}."
STOPS: dict[str, dict[str, Any]] = {
    "string": {"stop": ["Step 2", "The ans"]},
    "straddling": {"stop": [".\nCheck", ".\nStep 3"], "segment_tokens": 32},
    "id": {"stop_token_ids": TOKENIZER.encode_continuation(";") + TOKENIZER.encode_continuation("k")},
    "late": {"stop": ["Step", "\n"], "min_tokens": 70},
}


async def grown(stops: str, growth: str, replicas: int, slots: int, kill: bool = False) -> list[TreeRecord]:
    async with local_service() as service:
        for i in range(replicas):
            latency = SimulatedLatency(step_s=0.0005 * i, jitter=0.5)
            service.start_replica(f"r{i}", slots=slots, latency=latency)
        await service.joined()
        _, trees = await grow(service, 6, **{**GROWTHS[growth], **STOPS[stops]})
    return trees


@pytest.mark.parametrize("growth", GROWTHS)
@pytest.mark.parametrize("stops", STOPS)
async def test_rows_are_identical_with_other_fleets(stops: str, growth: str) -> None:
    alone = await grown(stops, growth, 1, 64)
    assert rows(await grown(stops, growth, 3, 3)) == rows(alone)
    assert any(sample.stop_reason == "stop" for tree in alone for sample in tree.samples)


@pytest.mark.parametrize("stops", ["string", "straddling", "late"])
async def test_a_path_ends_with_its_first_stop_string_and_its_text_is_that_of_its_ids(stops: str) -> None:
    wanted, least = STOPS[stops]["stop"], STOPS[stops].get("min_tokens", 0)
    for tree in await grown(stops, "path", 2, 8):
        for sample in tree.samples:
            text = sample.completion_text
            assert text == TOKENIZER.decode([token for token in sample.completion_ids if token != EOS])
            # One token is one character here.
            assert not any(text[:end].endswith(tuple(wanted)) for end in range(least + 1, len(text)))
            if sample.stop_reason == "stop":
                assert text.endswith(tuple(wanted))
                assert not sample.is_truncated
                assert len(sample.completion_ids) > least
            assert (sample.min_tokens, sample.repetition_penalty) == (least, 1.0)


async def test_nothing_ends_a_path_by_itself_before_its_least_tokens() -> None:
    async with local_service() as service:
        service.start_replica("r0", slots=16)
        _, trees = await grow(service, 6, recipe="flat", min_tokens=120, prune={"boxed": "off", "repetition": "off"})
    lengths = np.array([len(sample.completion_ids) for tree in trees for sample in tree.samples])
    ended = np.array([sample.stop_reason == "eos" for tree in trees for sample in tree.samples])
    assert ended.any()
    assert lengths[ended].min() == 121
