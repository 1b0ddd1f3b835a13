"""Two models in one service: runs name theirs, records and status say which it was."""

from typing import Any

import pytest
from tests.support.local_service import local_service

from treeroll.client import connect_async
from treeroll.demo import TASKS_FILE
from treeroll.errors import InvalidInput
from treeroll.tasks import read_tasks

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
