"""Weights published to two real engines while they decode: every token is of the version that its node names.

transformers in float32 says what each version would have said, see `treeroll.bench.weight_truth`.
"""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from itertools import count, islice
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from tests.support.demo_weights import saved
from tests.support.eventually import eventually
from tests.support.pace import PATIENT

from treeroll.bench.publish import RULES, TOLERANCE
from treeroll.bench.weight_truth import Agreement, WeightTruth
from treeroll.client import AsyncClient, AsyncRun, TreeRecord, connect_async
from treeroll.demo import MODEL_DIR, TASKS_FILE
from treeroll.generator.config import GeneratorConfig
from treeroll.generator.vllm_engine import VllmEngine
from treeroll.tasks import Task, read_tasks
from treeroll.testing.service import LocalService, local_service

pytestmark = [pytest.mark.vllm, pytest.mark.timeout(1500), pytest.mark.asyncio(loop_scope="module")]

SHAPE: dict[str, Any] = {
    "recipe": "treepo", "leaves": 4, "segment_tokens": 32, "max_depth": 6, "ignore_eos": True,
}  # fmt: skip
UPDATES, TASKS = 2, 4
START_TIMEOUT_S = 900.0


@dataclass
class Fleet:
    """Two engines, and whoever publishes to them."""

    service: LocalService
    client: AsyncClient
    folder: Path
    tasks: list[Task] = field(default_factory=lambda: list(read_tasks(TASKS_FILE)))
    directories: dict[int, Path] = field(default_factory=dict)
    numbers: "count[int]" = field(default_factory=count)

    def __post_init__(self) -> None:
        self.truth = WeightTruth(MODEL_DIR, self.directories)

    async def submit(self, run: AsyncRun) -> None:
        """A few trees more, each of a task of its own."""
        chosen = islice(self.numbers, TASKS)
        await run.submit([Task(id=f"t{n}", prompt=self.tasks[n % len(self.tasks)].prompt) for n in chosen])

    async def in_flight(self, run: AsyncRun) -> None:
        """Return while requests decode on every replica, and some have reported tokens."""
        before = (await run.status()).ledger.spent

        async def decode() -> bool:
            busy = all(
                replica.branches for replica in (await self.client.status()).replicas if replica.state == "ready"
            )
            return busy and (await run.status()).ledger.spent > before

        await eventually(decode)

    def saved(self) -> tuple[int, str]:
        """Weights that nobody has yet: their version and digest."""
        version = max(self.directories, default=0) + 1
        self.directories[version], digest = saved(self.folder, version, sureness=1 / 3)
        return version, digest

    async def publish(self, run: AsyncRun) -> None:
        """The next version, on all replicas when this returns."""
        await self.loaded(run, *self.saved())

    async def loaded(self, run: AsyncRun, version: int, digest: str) -> None:
        """Return when all replicas have a version, published by this call or on its way already."""
        status = await run.publish_weights(self.directories[version], version, digest=digest, timeout_s=600)
        assert {(one.version, one.digest, one.state) for one in status.replicas} == {(version, digest, "ready")}

    async def trees_of(self, run: AsyncRun) -> list[TreeRecord]:
        """All trees of a closed run, those without a sample too."""
        trees: list[TreeRecord] = []
        async for batch in run.batches(trees=4, allow_empty=True):
            trees += batch.trees
            trees += [await self.client.get_tree(failure.tree_id) for failure in batch.failures]
        return trees

    async def compare(self, trees: list[TreeRecord]) -> Agreement:
        """All of their tokens, beside the replicas in this process."""
        found = Agreement()
        for tree in trees:
            found.add(await asyncio.to_thread(self.truth.check, tree))
        return found

    async def check(self, trees: list[TreeRecord]) -> Agreement:
        """Every token is of its version, and of no other."""
        found = await self.compare(trees)
        assert max(found.worst, found.mixed_worst) < TOLERANCE, found.mixed_worst_in
        assert found.tokens + found.mixed_tokens == sum(len(node.token_ids) for node in sampled(trees))
        assert found.other_weights > TOLERANCE * found.tokens, "the versions cannot be told apart: this shows nothing"
        return found


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def fleet(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Fleet]:
    async with local_service(coordinator=PATIENT) as service, await connect_async(service.address) as client:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("OMP_NUM_THREADS", "1")  # or threads of both engines wait for each other
            for seed, name in enumerate(("r0", "r1")):
                service.serve_engine(VllmEngine(GeneratorConfig(slots=16, kv_cache_gib=0.25), seed=seed), name)
            await service.joined(START_TIMEOUT_S)
        yield Fleet(service, client, tmp_path_factory.mktemp("weights"))


def sampled(trees: list[TreeRecord]) -> list[Any]:
    return [node for tree in trees for node in tree.nodes[1:]]


def versions_of(tree: TreeRecord) -> set[int]:
    return {span.version for node in tree.nodes for span in node.weight_versions}


@pytest.mark.parametrize("rule", RULES)
async def test_every_token_is_of_the_weights_that_its_node_names(fleet: Fleet, rule: str) -> None:
    run = await fleet.client.create_run(rule, on_update=rule, **SHAPE)
    for _ in range(UPDATES):
        await fleet.submit(run)
        await fleet.in_flight(run)
        await fleet.publish(run)
    await fleet.submit(run)
    await run.close()
    trees = await fleet.trees_of(run)
    assert len(trees) == TASKS * (UPDATES + 1)
    found = await fleet.check(trees)
    assert len(set().union(*map(versions_of, trees))) == UPDATES + 1
    assert any(tree.stop_reason == "stale" for tree in trees) == (rule == "stop")
    through_a_change = [node for node in sampled(trees) if len(node.weight_versions) > 1]
    if rule in ("continue", "recompute"):
        assert through_a_change
        assert (found.mixed_tokens > 0) == (rule == "continue")
    else:
        assert all(len(versions_of(tree)) <= 1 for tree in trees)
    if rule == "continue":
        unmarked = [replace(tree, nodes=[replace(node, kv_mixed=False) for node in tree.nodes]) for tree in trees]
        assert (await fleet.compare(unmarked)).worst > TOLERANCE, "nothing shows that KV was kept: this shows nothing"


async def test_a_replica_that_dies_while_weights_come_leaves_every_token_to_its_version(fleet: Fleet) -> None:
    """The last test: one engine is left."""
    run = await fleet.client.create_run("dies", on_update="continue", **SHAPE)
    await fleet.submit(run)
    await fleet.in_flight(run)
    version, digest = fleet.saved()
    await run.publish_weights(fleet.directories[version], version, digest=digest, wait=False)
    [victim] = [task for task in fleet.service.tasks if task.get_name() == "r1"]
    victim.cancel()
    fleet.service.lose("r1", 1)
    await fleet.loaded(run, version, digest)
    await fleet.submit(run)
    await run.close()
    trees = await fleet.trees_of(run)
    assert [tree.status for tree in trees] == ["complete"] * 2 * TASKS
    await fleet.check(trees)
    assert (await fleet.client.audit()).violations == []
