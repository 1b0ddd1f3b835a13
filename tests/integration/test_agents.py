"""Agents on a real engine: the demo model that calls the calculator, and the growths that branch behind its calls."""

import asyncio
import json
import statistics
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from tests.support.pace import PATIENT
from tests.support.rollouts import mean_rewards, rollout, trees_of

from treeroll.client import Node, connect_async
from treeroll.demo import TOOL_MODEL_DIR
from treeroll.generator.config import GeneratorConfig
from treeroll.generator.vllm_engine import VllmEngine
from treeroll.results.reader import ResultReader
from treeroll.testing.service import LocalService, local_service
from treeroll.tools.registry import get
from treeroll.tree.tree import TAIL_CHARS

pytestmark = [pytest.mark.vllm, pytest.mark.asyncio(loop_scope="module")]

SHAPE = {"max_depth": 6, "max_tokens": 250, "scorer": "arith", "segment": {"name": "agent_step"}}
AGENTS: dict[str, dict[str, object]] = {
    "tree_grpo": {"leaves": 6},
    "arpo": {"leaves": 16},
    "aepo": {"leaves": 16, "branch": {"tau": 0.3}},
    "treeps_rag": {"leaves": 64},
}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def service() -> AsyncIterator[LocalService]:
    """One real engine for all of them."""
    async with local_service(coordinator=PATIENT) as service:
        engine = VllmEngine(GeneratorConfig(slots=64, seed=5, model=TOOL_MODEL_DIR), seed=5)
        service.serve_engine(engine, "r0")
        yield service


def before(nodes: dict[str, Node], node: Node) -> str:
    """What a tool sees of the completion before a node: its last characters."""
    texts = []
    while (parent := nodes[node.parent_id or ""]).parent_id is not None:
        texts.append(parent.text)
        node = parent
    return "".join(reversed(texts))[-TAIL_CHARS:]


async def test_every_agent_is_told_what_it_called_for_and_branches_behind_it(service: LocalService) -> None:
    async with await connect_async(service.address) as client:
        grown = await asyncio.gather(
            *(trees_of(client, f"agent-{name}", name, 6, **{**SHAPE, **config}) for name, config in AGENTS.items())
        )
        for name, trees in zip(AGENTS, grown, strict=True):
            assert [tree.status for tree in trees] == ["complete"] * 6, name
            nodes = {node.node_id: node for tree in trees for node in tree.nodes}
            steps = [node for node in nodes.values() if node.observation_tokens]
            for node in steps:
                call = node.text.rpartition(">")[0] + ">"
                assert node.text == call + get("calculator").answer(before(nodes, node) + call), name
            forked = {node.parent_id for tree in trees for node in tree.nodes if node.depth > 1 and node.sibling_index}
            assert forked & {node.node_id for node in steps}, name
            assert any(sample.reward for tree in trees for sample in tree.samples), name
        assert (await client.audit()).violations == []


async def test_no_sample_calls_more_often_than_its_cap_and_the_summary_counts_calls(
    service: LocalService, tmp_path: Path
) -> None:
    segment = {"name": "agent_step", "turn_cap": 1, "turn_extension": 2, "budget_text": "calls left: {left}"}
    config = {**SHAPE, "recipe": "flat", "leaves": 8, "segment": segment}
    await service.joined(timeout_s=600)
    assert await rollout(service, tmp_path / "out", limit=8, **config) == 0
    nodes = {row["node_id"]: row for row in ResultReader.existing(tmp_path / "out").rows("nodes")}
    told, left = [0, 0, 0], (0, 1, 0)  # by calls made
    for node in nodes.values():
        if node["observation_tokens"]:
            told[node["depth"] - 1] += 1
            assert node["text"].endswith(f"\ncalls left: {left[node['depth'] - 1]}\n")
    assert min(told) > 0, "some samples call as often as they may"
    # Behind its last answer a path always has a step for its own.
    assert all(not node["observation_tokens"] for node in nodes.values() if node["status"] == "leaf")
    samples = sum(node["status"] == "leaf" for node in nodes.values())
    calls = json.loads((tmp_path / "out" / "summary.json").read_text())["calls_per_sample"]
    assert (calls["most"], calls["cap"]) == (3, 3)
    assert calls["at_cap"] == told[-1] / samples


async def test_branching_behind_calls_leaves_the_mean_reward_as_flat_sampling_has_it(service: LocalService) -> None:
    tasks = 20
    async with await connect_async(service.address) as client:
        flat, arpo = await asyncio.gather(
            trees_of(client, "blind-flat", "flat", tasks, **{**SHAPE, "leaves": 16}),
            trees_of(client, "blind-arpo", "arpo", tasks, **{**SHAPE, **AGENTS["arpo"]}),
        )
        here, there = mean_rewards(flat), mean_rewards(arpo)
        gaps = [there[task] - here[task] for task in here]
        error = statistics.stdev(gaps) / tasks**0.5
        # Four, so that this test is wrong once in ten thousand runs.
        assert abs(statistics.fmean(gaps)) <= 4 * error, (statistics.fmean(gaps), error)
