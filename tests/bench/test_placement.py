"""The placement benchmark measures every policy on equal trees."""

import asyncio

import pytest

from treeroll.bench.placement import PlacementBench, Skew
from treeroll.bench.prompts import Workload
from treeroll.demo import MODEL_DIR
from treeroll.errors import InvalidInput
from treeroll.generator.config import GeneratorConfig, SimulatedLatency
from treeroll.policy.base import Limits
from treeroll.tokenizer import Tokenizer

LIMITS = Limits(leaves=4, segment_tokens=32, max_depth=3, max_tokens=96)


def bench(skew: Skew, policies: tuple[str, ...], replicas: int = 2) -> PlacementBench:
    """Three prompts on simulated engines, with room for all branches: nobody steals, however slow the machine is."""
    generator = GeneratorConfig(
        engine="simulated", replicas=replicas, slots=16, block_size=32, simulated=SimulatedLatency(step_s=0.0)
    )
    return PlacementBench(Workload("fixed", 3, 40, LIMITS, Tokenizer.load(MODEL_DIR), 32), generator, skew, 8, policies)


def test_policies_grow_the_same_and_differ_in_where() -> None:
    result = asyncio.run(bench("skewed", ("parent_affinity", "round_robin")).run(1, lambda line: None))
    affinity, blind = result.rounds["parent_affinity"][0], result.rounds["round_robin"][0]
    assert affinity["samples"] == blind["samples"] == 8 + 2 * 4
    assert affinity["generated_tokens"] == blind["generated_tokens"]
    assert affinity["recomputed_tokens"] < blind["recomputed_tokens"]
    assert 1.0 <= blind["imbalance"] <= affinity["imbalance"] <= 2.0


def test_one_replica_leaves_nothing_to_compare() -> None:
    with pytest.raises(InvalidInput, match="nothing to choose"):
        bench("even", ("parent_affinity",), replicas=1)


def test_an_unknown_policy_is_refused() -> None:
    with pytest.raises(InvalidInput, match="'best'"):
        bench("even", ("best",))
