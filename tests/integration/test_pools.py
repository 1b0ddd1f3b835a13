"""Two models in one service: runs name theirs, records and status say which it was."""

import asyncio
import re
from typing import Any

import numpy as np
import pytest
from tests.support.rollouts import trees_of
from tests.support.two_models import TwoModels

from treeroll.cli.status import status
from treeroll.client import TreeRecord, connect_async
from treeroll.demo import TASKS_FILE
from treeroll.errors import InvalidInput
from treeroll.policies import registry
from treeroll.tasks import read_tasks
from treeroll.testing.service import local_service

RUN: dict[str, Any] = {"recipe": "treepo", "leaves": 4, "segment_tokens": 32, "max_depth": 6, "scorer": "arith"}


async def test_each_run_grows_its_trees_with_the_model_that_it_names() -> None:
    tasks = list(read_tasks(TASKS_FILE))[:6]
    async with local_service(pools=("small", "large")) as service:
        for replica_id, pool in (("a", "small"), ("b", "small"), ("c", "large")):
            service.start_replica(replica_id, pool=pool)
        await service.joined()
        async with await connect_async(service.address) as client:
            made = {}
            for model in ("small", "large"):
                run = await client.create_run(model, model=model, **RUN)
                await run.submit(tasks)
                await run.close()
                trees = [tree async for batch in run.batches(trees=3) for tree in batch.trees]
                assert len(trees) == len(tasks)
                made[model] = {node.replica_id for tree in trees for node in tree.nodes if node.depth}
                assert {tree.status for tree in trees} == {"complete"}
            assert made == {"small": {"a", "b"}, "large": {"c"}}
            status = await client.status()
            audit = await client.audit()
    assert not audit.violations
    assert [(pool.name, pool.replicas, pool.slots, pool.live_trees) for pool in status.pools] == [
        ("small", 2, 32, 0),
        ("large", 1, 16, 0),
    ]
    assert {replica.replica_id: replica.pool for replica in status.replicas} == {
        "a": "small",
        "b": "small",
        "c": "large",
    }
    assert status.model_names() == "small=simulated, large=simulated"
    assert [pool.stop_token_ids for pool in status.pools] == [[1], [1]]


@pytest.mark.parametrize(
    ("pools", "config", "sentence"),
    [
        (("small", "large"), {"model": "huge"}, "model is 'huge', but this service serves 'small' and 'large'"),
        (("small",), {"model": "large"}, "model is 'large', but this service serves 'small'"),
        ((), {"model": "large"}, "model is 'large', but this service serves one model without a name; name models in"),
        (
            ("small", "large"),
            {},
            "this service serves 'small' and 'large'; set model to the one that is",
        ),
    ],
)
async def test_a_run_that_names_no_model_of_the_service_is_refused(
    pools: tuple[str, ...], config: dict[str, Any], sentence: str
) -> None:
    async with local_service(pools=pools) as service, await connect_async(service.address) as client:
        with pytest.raises(InvalidInput) as caught:
            await client.create_run("r", **RUN, **config)
        assert sentence in str(caught.value)


async def test_a_run_of_a_service_with_one_named_model_need_not_name_it() -> None:
    async with local_service(pools=("small",)) as service, await connect_async(service.address) as client:
        await client.create_run("r", **RUN)
        assert service.coordinator.state.runs["r"].spec.models == ("small",)


ROUTED: dict[str, Any] = {**RUN, "recipe": "flat", "seed": 5, "route": {"name": "threshold", "below": 0.7}}


async def test_a_route_sends_what_the_small_model_failed_to_the_large_one(capsys: pytest.CaptureFixture[str]) -> None:
    tasks = list(read_tasks(TASKS_FILE, limit=24))
    async with local_service(pools=("small", "large")) as service, await connect_async(service.address) as client:
        for pool in ("small", "large"):
            service.start_replica(pool, pool=pool, slots=32)
        run = await client.create_run("routed", **ROUTED)
        grown: list[dict[str, TreeRecord]] = []
        for epoch in (0, 1):
            await run.submit(tasks, epoch=epoch)
            trees: list[TreeRecord] = []
            async for batch in run.batches(trees=8):
                trees += batch.trees
                if len(trees) == len(tasks):
                    await batch.ack()
                    break
            grown.append({tree.task_id: tree for tree in trees})
        first, second = grown
        assert {tree.model for tree in first.values()} == {"small"}
        hard = {task for task, tree in first.items() if sum(sample.reward or 0 for sample in tree.samples) / 4 < 0.7}
        assert 0 < len(hard) < len(tasks)
        assert {task for task, tree in second.items() if tree.model == "large"} == hard
        for tree in (*first.values(), *second.values()):
            assert {node.replica_id for node in tree.nodes if node.depth} == {tree.model}
            assert {sample.model for sample in tree.samples} == {tree.model}
        await asyncio.to_thread(status, service.address)
        said = capsys.readouterr().out
        assert re.search(r"small +simulated +1 +0/32 +0 +0", said)
        assert f"routed: small {48 - len(hard)} trees, " in said
        uses = (await run.status()).models
        assert [(use.model, use.trees) for use in uses] == [("small", 48 - len(hard)), ("large", len(hard))]
        assert all(use.tokens > 0 for use in uses)
        assert set(await service.store.load_history("routed")) == {task.id for task in tasks}


@pytest.mark.parametrize(
    ("pools", "config", "sentence"),
    [
        (
            ("small",),
            {},
            "route policy 'threshold' sends tasks to 'small' and 'large', but this service serves 'small'",
        ),
        ((), {}, "sends tasks to 'small' and 'large', but this service serves one model without a name; name models"),
        (("small", "large"), {"model": "small"}, "model is 'small', but route policy 'threshold' says which model it"),
        (("small", "large"), {"scorer": None}, "route policy 'threshold' goes by how often tasks succeed, but scorer"),
        (("small", "large"), {"route": {"below": 0.1}}, "route has parameters (below) but no name"),
        (("small", "large"), {"route": {"name": "treshold"}}, "there is no route policy 'treshold'; there is thresh"),
        (
            ("small", "large"),
            {"route": {"name": "threshold", "large": "small"}},
            "route policy 'threshold': small and large are both 'small'; name two models",
        ),
        (
            ("small", "large"),
            {"allocate": {"name": "knapsack", "success": 0.9}},
            "allocate.success is 0.9 and route.success is 0.5; a task has one history, so set both alike",
        ),
    ],
)
async def test_a_route_that_cannot_work_is_refused_in_one_sentence(
    pools: tuple[str, ...], config: dict[str, Any], sentence: str
) -> None:
    async with local_service(pools=pools) as service, await connect_async(service.address) as client:
        with pytest.raises(InvalidInput) as caught:
            await client.create_run("r", **{**ROUTED, **config})
        assert sentence in str(caught.value)
        assert "\n" not in str(caught.value)


async def test_a_branch_policy_may_have_branches_of_another_model(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(registry.POLICIES, "branch", (*registry.POLICIES["branch"], TwoModels))  # type: ignore[arg-type]
    config = {**RUN, "leaves": 8, "model": "small", "branch": {"name": "two_models"}}
    del config["recipe"]
    async with local_service(pools=("small", "large")) as service, await connect_async(service.address) as client:
        for pool in ("small", "large"):
            service.start_replica(pool, pool=pool)
        trees = await trees_of(
            client, "r", "flat", 6, **{key: value for key, value in config.items() if key != "recipe"}
        )
        audit = await client.audit()
    assert not audit.violations
    nodes = [node for tree in trees for node in tree.nodes if node.depth]
    assert {node.model for node in nodes} == {"small", "large"}
    assert all(node.replica_id == node.model for node in nodes)
    assert {tree.model for tree in trees} == {"small"}
    of = {node.node_id: node.model for node in nodes}
    for sample in (sample for tree in trees for sample in tree.samples):
        alone = {of[name] for name in sample.path_node_ids} == {"small"}
        assert (sample.path_weight > 0) == alone
        ends = [*sample.path_offsets[1:], len(sample.completion_ids)]
        made = [int(of[name] == "small") for name in sample.path_node_ids]
        lengths = np.subtract(ends, sample.path_offsets)
        assert sample.model_mask.tolist() == np.repeat(made, lengths).tolist()


async def test_a_branch_policy_that_names_a_model_which_nobody_serves_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(registry.POLICIES, "branch", (*registry.POLICIES["branch"], TwoModels))  # type: ignore[arg-type]
    async with local_service(pools=("small",)) as service, await connect_async(service.address) as client:
        with pytest.raises(
            InvalidInput,
            match="branch policy 'two_models' has branches served by 'large', but this service serves 'small'",
        ):
            await client.create_run("r", **RUN, branch={"name": "two_models"})


MARS2: dict[str, Any] = {**RUN, "recipe": "mars2", "leaves": 10, "model": "small"}


async def test_models_take_turns_to_answer_in_the_trees_of_mars2() -> None:
    branch = {"models": ["small", "large"], "parallel": 2}
    async with local_service(pools=("small", "large")) as service, await connect_async(service.address) as client:
        for pool in ("small", "large"):
            service.start_replica(pool, pool=pool)
        trees = await trees_of(client, "m", tasks=8, **{**MARS2, "branch": branch})
        audit = await client.audit()
    assert not audit.violations
    assert {(tree.status, tree.model, len(tree.samples)) for tree in trees} == {("complete", "small", 10)}
    nodes = {node.node_id: node for tree in trees for node in tree.nodes}
    assert all(node.replica_id == node.model for node in nodes.values() if node.depth)
    # Answers that began within others', and of those some that another model had begun.
    forks = [node for node in nodes.values() if node.depth > 1 and node.sibling_index]
    crossed = {(nodes[fork.parent_id].model, fork.model) for fork in forks}
    assert crossed >= {("small", "large"), ("large", "small")}
    for sample in (sample for tree in trees for sample in tree.samples):
        path = [nodes[name] for name in sample.path_node_ids]
        blind = all(node.model == "small" and node.decision == "boundary" for node in path)
        assert (sample.path_weight > 0) == blind
        assert len(sample.advantages) == len(sample.completion_ids)


async def test_mars2_with_a_model_that_nobody_serves_is_refused_and_needs_none() -> None:
    async with local_service(pools=("small",)) as service, await connect_async(service.address) as client:
        with pytest.raises(InvalidInput) as caught:
            await client.create_run("m", **MARS2, branch={"models": ["small", "large"]})
        assert str(caught.value).endswith(
            "branch policy 'mars2' has branches served by 'small' and 'large', but this service serves 'small'"
        )
        await client.create_run("m", **MARS2)


async def test_leaves_are_allotted_to_routed_tasks_too() -> None:
    tasks = list(read_tasks(TASKS_FILE, limit=8))
    async with local_service(pools=("small", "large")) as service, await connect_async(service.address) as client:
        for pool in ("small", "large"):
            service.start_replica(pool, pool=pool, slots=32)
        run = await client.create_run("both", **ROUTED, allocate={"name": "knapsack"})
        for epoch in (0, 1):
            await run.submit(tasks, epoch=epoch)
        await run.close()
        trees = [tree async for batch in run.batches() for tree in batch.trees]
    assert sum(tree.allotted_leaves for tree in trees) == 4 * 16
    assert all(len(tree.samples) == tree.allotted_leaves for tree in trees)
