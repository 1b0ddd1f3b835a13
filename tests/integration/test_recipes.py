"""Every recipe on a real engine: it runs to its end, and where forks are blind to the future, it is unbiased."""

import asyncio
import statistics
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from tests.support.pace import PATIENT
from tests.support.rollouts import mean_rewards, trees_of

from treeroll.client import connect_async
from treeroll.generator.config import GeneratorConfig
from treeroll.generator.vllm_engine import VllmEngine
from treeroll.policies.recipes import RECIPES
from treeroll.testing.service import LocalService, local_service

pytestmark = [pytest.mark.vllm, pytest.mark.asyncio(loop_scope="module")]

# Small trees: the demo model's answers have about a hundred tokens.
SHAPE = {"segment_tokens": 32, "max_depth": 4, "max_tokens": 128, "scorer": "arith"}
SMALL: dict[str, dict[str, object]] = {
    "treepo": {"leaves": 8},
    "flat": {"leaves": 8},
    "spo": {"leaves": 16, "branch": {"fanouts": [2, 2, 2, 2]}},
    "late_fork": {"leaves": 8, "branch": {"fanouts": [4, 2]}, "segment_tokens": 64, "max_depth": 2},
    "treerpo": {"leaves": 16, "branch": {"arity": 2}},
    "tree_grpo": {"leaves": 6},
    "ib_tpo": {"leaves": 12},
    "treerl": {"leaves": 10, "branch": {"chains": 2, "places": 2}},
    "echo": {
        "leaves": 8,
        "branch": {"answers": 2, "entropy": 0.5, "confidence": 1.0, "entropy_low": 0.0, "entropy_high": 1.0},
    },
    # What samples are told has 50 tokens of this model, a character each.
    "hbpo": {"leaves": 8, "branch": {"budgets": [80, 96, 128]}},
    "arpo": {"leaves": 8, "branch": {"initial": 4}},
    "aepo": {"leaves": 8},
    "treeps_rag": {"leaves": 16},
    "deepsearch": {"leaves": 12, "branch": {"width": 4, "terminals": 3}},
    "rest_mcts": {"leaves": 13, "branch": {"iterations": 6}},
    "mars2": {"leaves": 8},
    "hyper": {"leaves": 12, "branch": {"warm_up": 6, "keep": 4, "pool": 12}},
    "rebase": {"leaves": 8, "branch": {"value": "steps"}},
    "dora": {"leaves": 8},
    "ets": {"leaves": 8, "branch": {"value": "steps"}},
    "bavt": {"leaves": 8, "branch": {"value": "steps"}},
    "uct": {"leaves": 8},
    "cost_band": {"leaves": 8},
    "depth_first": {"leaves": 8},
    "pets": {"leaves": 12},
    "pets_online": {"leaves": 12, "branch": {"budgets": [4, 6, 8, 10, 12]}},
    "tree_planner": {"leaves": 12, "branch": {"samples": 6, "places": 3}},
}
# Every fork is decided at its boundary, from what was known there.
BLIND = {
    "treepo": {"leaves": 16, "branch": {"fallback": "none"}},
    "spo": SMALL["spo"],
    "treerpo": SMALL["treerpo"],
}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def service() -> AsyncIterator[LocalService]:
    """One real engine for all of them."""
    async with local_service(coordinator=PATIENT) as service:
        service.serve_engine(VllmEngine(GeneratorConfig(slots=64, seed=5), seed=5), "r0")
        yield service


async def test_every_recipe_runs_to_its_end_on_a_real_engine(service: LocalService) -> None:
    assert set(SMALL) == set(RECIPES)
    async with await connect_async(service.address) as client:
        grown = await asyncio.gather(
            *(trees_of(client, f"all-{name}", name, 6, **{**SHAPE, **config}) for name, config in SMALL.items())
        )
        for (name, config), trees in zip(SMALL.items(), grown, strict=True):
            assert [tree.status for tree in trees] == ["complete"] * 6, name
            for tree in trees:
                assert 0 < len(tree.samples) <= config["leaves"], name
                assert all(sample.advantages is not None for sample in tree.samples), name
        assert (await client.audit()).violations == []


async def test_blind_forks_leave_the_mean_reward_as_flat_sampling_has_it(service: LocalService) -> None:
    tasks = 40
    async with await connect_async(service.address) as client:
        flat = mean_rewards(await trees_of(client, "blind-flat", "flat", tasks, **{**SHAPE, "leaves": 16}))
        for name, config in BLIND.items():
            tree = mean_rewards(await trees_of(client, f"blind-{name}", name, tasks, **{**SHAPE, **config}))
            gaps = [tree[task] - flat[task] for task in flat]
            error = statistics.stdev(gaps) / tasks**0.5
            # Four, so that this test is wrong once in ten thousand runs.
            assert abs(statistics.fmean(gaps)) <= 4 * error, (name, statistics.fmean(gaps), error)
