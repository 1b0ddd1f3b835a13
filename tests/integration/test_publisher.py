"""Publisher: version after version, and nothing that a replica may read is removed."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from tests.support.eventually import eventually, eventually_sync

import treeroll
from treeroll.client import connect_async
from treeroll.config import CoordinatorConfig
from treeroll.demo import TASKS_FILE
from treeroll.errors import InvalidInput, WeightsRefused
from treeroll.generator.config import SimulatedLatency
from treeroll.integrations.publisher import Publisher
from treeroll.testing.service import local_service, running_service

WEIGHTS = {"any": np.ones(3, np.float32)}
KEPT = CoordinatorConfig(port=0, heartbeat_s=0.2, lease_s=2.0, keep_weights=2)


def upwards(here: Path) -> Path:
    (here / "below").mkdir()
    return Path("below/../weights")


def link(here: Path) -> Path:
    (here / "elsewhere").mkdir()
    (here / "weights").symlink_to("elsewhere")
    return here / "weights"


@pytest.mark.parametrize("folder", [lambda here: here / "weights", lambda here: Path("weights"), upwards, link])
def test_only_what_is_not_in_use_is_removed_however_the_folder_is_named(
    folder: Callable[[Path], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with running_service(replicas=2, coordinator=KEPT) as address, treeroll.connect(address) as client:
        publisher = Publisher(client.create_run("run", recipe="flat"), folder(tmp_path))
        assert [publisher.publish(WEIGHTS) for _ in range(4)] == [1, 2, 3, 4]
        there = {path.resolve() for path in (tmp_path / "weights").iterdir()}
        assert there == {Path(path).resolve() for path in client.weights().in_use}
        assert all((path / "STABLE").exists() for path in there)
        assert {path.name[0] for path in there} == {"3", "4"}


def test_what_is_in_use_further_below_and_links_are_no_unused_directories(tmp_path: Path) -> None:
    with running_service(coordinator=KEPT) as address, treeroll.connect(address) as client:
        for step in range(1, 4):
            path = tmp_path / f"step-{step}" / "hf"
            treeroll.save_weights(WEIGHTS, path)
            status = client.publish_weights(path, step)
        (tmp_path / "newest").symlink_to("step-3")
        (tmp_path / "notes.txt").touch()
        assert status.unused(tmp_path) == [tmp_path / "step-1"]


def test_a_version_that_a_killed_trainer_left_on_its_way_is_waited_for(tmp_path: Path) -> None:
    with (
        running_service(latency=SimulatedLatency(step_s=0.002)) as address,
        treeroll.connect(address) as client,
    ):
        run = client.create_run(
            "run", recipe="flat", leaves=8, segment_tokens=16, max_depth=4, ignore_eos=True, on_update="finish_first"
        )
        run.submit(treeroll.read_tasks(TASKS_FILE, limit=8))
        run.close()
        eventually_sync(lambda: run.status().ledger.spent > 0)
        treeroll.save_weights(WEIGHTS, tmp_path / "left")
        assert run.publish_weights(tmp_path / "left", 1, wait=False).publication is not None
        assert Publisher(run, tmp_path / "weights").publish(WEIGHTS) == 2
        assert [(one.version, one.phase) for one in client.weights().history] == [(1, "done"), (2, "done")]


def test_a_version_that_was_left_and_is_refused_holds_nobody_up(tmp_path: Path) -> None:
    (tmp_path / "left").mkdir()
    (tmp_path / "left" / "STABLE").touch()
    with running_service() as address, treeroll.connect(address) as client:
        run = client.create_run("run", recipe="flat")
        run.publish_weights(tmp_path / "left", 1, wait=False)
        assert Publisher(run, tmp_path / "weights").publish(WEIGHTS) == 1
        with pytest.raises(WeightsRefused, match="there is no safetensors file"):
            run.publish_weights(tmp_path / "left", 2)


async def test_a_run_knows_the_weights_of_its_own_model(tmp_path: Path) -> None:
    async with local_service(pools=("small", "large")) as service, await connect_async(service.address) as client:
        for pool in ("small", "large"):
            service.start_replica(f"{pool}-0", pool=pool)
        await service.joined()
        run = await client.create_run("run", recipe="flat", model="small")
        treeroll.save_weights(WEIGHTS, tmp_path / "one")
        await run.publish_weights(tmp_path / "one", 1)

        async def known() -> bool:
            status = await run.weights()
            return (status.pool, status.version) == ("small", 1)

        await eventually(known)
        several = await client.create_run(
            "several", recipe="flat", scorer="arith", route={"name": "threshold", "below": 0.7}
        )
        with pytest.raises(InvalidInput, match="grows trees with several models"):
            await several.weights()
