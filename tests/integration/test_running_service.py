"""The service that trainers test against."""

import pytest

import treeroll
from treeroll.config import CoordinatorConfig
from treeroll.errors import Unavailable
from treeroll.testing.service import running_service

TASKS = [{"id": f"t{i}", "prompt": f"{i}+1", "answer": str(i + 1)} for i in range(4)]


def test_a_trainer_gets_its_trees_from_a_running_service() -> None:
    with running_service(replicas=2) as address:
        client = treeroll.connect(address)
        run = client.create_run("r", recipe="flat", leaves=4, segment_tokens=32, max_tokens=64, scorer="exact")
        run.submit(TASKS)
        run.close()
        batches = list(run.batches(trees=4, group="trainer"))
        client.close()
    assert sorted(tree.task_id for batch in batches for tree in batch.trees) == ["t0", "t1", "t2", "t3"]


def test_two_services_run_side_by_side_and_know_nothing_of_each_other() -> None:
    with running_service() as one, running_service() as other:
        assert one != other
        first, second = treeroll.connect(one), treeroll.connect(other)
        first.create_run("r", recipe="flat", leaves=2, max_tokens=32, segment_tokens=32)
        assert first.status().run_ids == ["r"]
        assert second.status().run_ids == []
        first.close()
        second.close()


def test_a_service_that_cannot_start_says_why() -> None:
    with running_service() as address:
        port = int(address.rpartition(":")[2])
        with pytest.raises(Unavailable, match=str(port)), running_service(coordinator=CoordinatorConfig(port=port)):
            pass
