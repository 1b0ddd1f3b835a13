"""Weights published through the client to replicas that decode: one version for all or none, and tokens say which."""

import asyncio
import shutil
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file
from tests.support.demo_weights import saved
from tests.support.eventually import eventually
from tests.support.pace import Pace

import treeroll
from treeroll.cli.main import app
from treeroll.client import AsyncClient, AsyncRun, TreeRecord, connect_async
from treeroll.config import CoordinatorConfig
from treeroll.demo import MODEL_DIR, TASKS_FILE
from treeroll.errors import (
    InvalidInput,
    PublicationBusy,
    TreerollError,
    Unavailable,
    UnknownPool,
    VersionTooOld,
    WeightsConflict,
    WeightsRefused,
)
from treeroll.generator.detokenizer import Detokenizer
from treeroll.generator.simulated_engine import SimulatedEngine
from treeroll.store.memory import MemoryStore
from treeroll.tasks import read_tasks
from treeroll.testing.service import LocalService, local_service, running_service

RUN: dict[str, Any] = {
    "recipe": "treepo", "leaves": 8, "segment_tokens": 32, "max_depth": 6, "scorer": "arith", "ignore_eos": True,
}  # fmt: skip
ROUTED: dict[str, Any] = {**RUN, "recipe": "flat", "route": {"name": "threshold", "below": 0.7}}
NORM = "model.norm.weight"


# Of all replicas: weights that are published while trees grow come while they do, however busy the machine is.
PACE = Pace()
BRISK_S, SLOW_S = 0.002, 0.02


def start(service: LocalService, name: str, incarnation: int = 1, pool: str = "") -> Any:
    """A simulated replica that has the demo model's weights."""
    engine = SimulatedEngine(
        Detokenizer(MODEL_DIR).tokenizer,
        model=str(MODEL_DIR),
        slots=8,
        max_model_len=1024,
        latency=PACE,
    )
    return service.serve_engine(engine, name, incarnation, pool)


@pytest.fixture
async def service() -> AsyncIterator[LocalService]:
    async with local_service() as service:
        for name in ("r0", "r1"):
            start(service, name)
        await service.joined()
        yield service


@pytest.fixture
async def client(service: LocalService) -> AsyncIterator[AsyncClient]:
    async with await connect_async(service.address) as client:
        yield client


async def growing(client: AsyncClient, tasks: int = 12, **config: Any) -> AsyncRun:
    """A run whose trees have begun to grow, and go on slowly."""
    run = await client.create_run("run", **{**RUN, **config})
    await run.submit(read_tasks(TASKS_FILE, limit=tasks))
    await run.close()
    await more(run, 1)
    return run


async def more(run: AsyncRun, tokens: int) -> None:
    """So many tokens of a run come, and others after them slowly."""
    PACE.step_s = BRISK_S
    before = (await run.status()).ledger.spent

    async def came() -> bool:
        return (await run.status()).ledger.spent >= before + tokens

    await eventually(came)
    PACE.step_s = SLOW_S


async def trees_of(run: AsyncRun) -> tuple[list[TreeRecord], list[str]]:
    """All trees with samples, and the errors of the others."""
    PACE.step_s = 0.0
    trees, errors = [], []
    async for batch in run.batches(trees=4, allow_empty=True):
        trees += batch.trees
        errors += [failure.error for failure in batch.failures]
    return trees, errors


async def test_a_version_comes_to_all_replicas_while_they_decode_and_tokens_say_which_made_them(
    client: AsyncClient, tmp_path: Path
) -> None:
    run = await growing(client)
    for version in (1, 2):
        path, digest = saved(tmp_path, version)
        status = await run.publish_weights(path, version, digest=digest)
        assert (status.version, status.path, status.digest) == (version, str(path), digest)
        assert [(one.version, one.digest, one.state) for one in status.replicas] == [(version, digest, "ready")] * 2
        await more(run, 600)  # than 16 slots may have had before, in segments of 32
    assert [(one.version, one.phase) for one in status.history] == [(1, "done"), (2, "done")]
    assert status.in_use == [str(tmp_path / "step-2"), str(tmp_path / "step-1")]
    trees, errors = await trees_of(run)
    assert errors == []
    assert len(trees) == 12
    spans = [node.weight_versions for tree in trees for node in tree.nodes[1:]]
    assert {span.version for node in spans for span in node} >= {0, 1}
    for tree in trees:
        for node in tree.nodes[1:]:
            assert sum(span.tokens for span in node.weight_versions) == len(node.token_ids)
    for sample in (sample for tree in trees for sample in tree.samples):
        assert sample.staleness == 2 - sample.min_weight_version
        assert sample.staleness_newest == 2 - sample.max_weight_version
    assert sum((await run.status()).staleness.values()) == 12


def torn(path: Path) -> None:
    file = path / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-100])


def edit(change: Callable[[dict[str, np.ndarray]], None]) -> Callable[[Path], None]:
    def apply(path: Path) -> None:
        tensors = load_file(path / "model.safetensors")
        change(tensors)
        save_file(tensors, path / "model.safetensors")
        (path / "STABLE").write_text("")  # as another program writes it, that does not know the digest

    return apply


BAD: dict[str, tuple[Callable[[Path], None], str]] = {
    "no directory": (shutil.rmtree, "there is no such directory"),
    "not written whole": (lambda path: (path / "STABLE").unlink(), "there is no file STABLE"),
    "a file cut short": (torn, "model.safetensors has"),
    "a tensor missing": (edit(lambda tensors: tensors.pop(NORM)), f"tensor {NORM} is in none of the files"),
    "one too many": (edit(lambda tensors: tensors.update(more=np.zeros(1, np.float32))), "is none of the model's"),
    "another shape": (edit(lambda tensors: tensors.update({NORM: np.zeros(3, np.float32)})), f"tensor {NORM}"),
    "another dtype": (edit(lambda tensors: tensors.update({NORM: tensors[NORM].astype(np.float16)})), f"tensor {NORM}"),
    "not a number": (edit(lambda tensors: tensors[NORM].fill(np.nan)), f"tensor {NORM}"),
}


@pytest.mark.parametrize("case", BAD)
async def test_bad_weights_are_refused_by_name_and_nothing_changes(
    client: AsyncClient, tmp_path: Path, case: str
) -> None:
    run = await growing(client, tasks=2)
    path, _ = saved(tmp_path, 1)
    spoil, sentence = BAD[case]
    spoil(path)
    with pytest.raises(WeightsRefused) as refused:
        await run.publish_weights(path, 1)
    assert sentence in str(refused.value)
    assert "weights version 1 of pool '' is refused: replica r" in str(refused.value)
    assert str(path) in str(refused.value)
    status = await client.weights()
    assert (status.version, status.publication) == (0, None)
    assert {one.version for one in status.replicas} == {0}
    good, _ = saved(tmp_path, 2)
    await run.publish_weights(good, 1)
    trees, errors = await trees_of(run)
    assert (len(trees), errors) == (2, [])


async def test_a_flipped_bit_is_refused_where_the_digest_is_given(client: AsyncClient, tmp_path: Path) -> None:
    path, digest = saved(tmp_path, 1)
    file = path / "model.safetensors"
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    (path / "STABLE").write_text("")
    with pytest.raises(WeightsRefused, match=digest):
        await client.publish_weights(path, 1, digest=digest)


@pytest.mark.parametrize(
    ("version", "step", "pool", "error", "sentence"),
    [
        (3, 1, "", None, ""),
        (3, 2, "", WeightsConflict, "weights version 3 of pool '' was published from"),
        (2, 2, "", VersionTooOld, "weights version 2 of pool '' is not above the current version 3"),
        (0, 2, "", InvalidInput, "from 1 to 2^63 - 1, got 0"),
        (4, 2, "nobody", UnknownPool, "there is no pool 'nobody': the service serves one model without a name"),
    ],
)
async def test_a_version_that_cannot_come_is_refused_by_name(
    client: AsyncClient,
    tmp_path: Path,
    version: int,
    step: int,
    pool: str,
    error: type[TreerollError] | None,
    sentence: str,
) -> None:
    steps = [saved(tmp_path, number) for number in (1, 2)]
    await client.publish_weights(steps[0][0], 3, digest=steps[0][1])
    path, digest = steps[step - 1]
    if error is None:
        assert len((await client.publish_weights(path, version, digest=digest)).history) == 1
        return
    with pytest.raises(error) as refused:
        await client.publish_weights(path, version, pool=pool, digest=digest)
    assert sentence in str(refused.value)
    assert (await client.weights()).version == 3


async def test_weights_while_others_are_on_their_way_are_refused_and_the_others_come(
    service: LocalService, client: AsyncClient, tmp_path: Path
) -> None:
    run = await growing(client, on_update="finish_first")
    first, second = saved(tmp_path, 1)[0], saved(tmp_path, 2)[0]
    status = await run.publish_weights(first, 1, wait=False)
    assert status.publication is not None
    with pytest.raises(PublicationBusy, match="version 1 is still"):
        await run.publish_weights(second, 2)
    with pytest.raises(Unavailable, match=r"weights version 1 of pool '' is \w+ after 0.01 s: r0 with version 0 is"):
        await run.publish_weights(first, 1, timeout_s=0.01)
    PACE.step_s = 0.0
    assert (await run.publish_weights(first, 1)).version == 1
    trees, errors = await trees_of(run)
    assert (len(trees), errors) == (12, [])
    for tree in trees:
        assert len({span.version for node in tree.nodes for span in node.weight_versions}) == 1


async def test_a_replica_that_dies_in_between_and_its_next_life_hold_nobody_up(
    service: LocalService, client: AsyncClient, tmp_path: Path
) -> None:
    run = await growing(client)
    for version in range(1, 6):
        publishing = asyncio.create_task(run.publish_weights(saved(tmp_path, version)[0], version))
        await asyncio.sleep(0)
        [victim] = [task for task in service.tasks if task.get_name() == "r1" and not task.done()]
        victim.cancel()
        await asyncio.gather(victim, return_exceptions=True)
        service.lose("r1", version)
        start(service, "r1", version + 1)
        assert (await publishing).version == version

    async def caught_up() -> bool:
        return all(one.version == 5 and one.state == "ready" for one in (await client.weights()).replicas)

    await eventually(caught_up)
    trees, errors = await trees_of(run)
    assert (len(trees), errors) == (12, [])
    assert (await client.audit()).violations == []


async def test_trees_of_a_run_that_stops_end_at_their_last_boundary(client: AsyncClient, tmp_path: Path) -> None:
    run = await growing(client, on_update="stop")
    await run.publish_weights(saved(tmp_path, 1)[0], 1)
    trees, errors = await trees_of(run)
    status = await run.status()
    assert status.stale_trees > 0
    assert len(trees) + len(errors) == 12
    stale = [tree for tree in trees if tree.stop_reason == "stale"]
    assert len(stale) + len(errors) == status.stale_trees
    for tree in trees:
        assert len({span.version for node in tree.nodes for span in node.weight_versions}) == 1
    for sentence in [*errors, *(tree.error for tree in stale)]:
        assert "weights version 1 came and the run's on_update is stop" in sentence


async def test_a_run_that_recomputes_has_no_tokens_on_kv_of_older_weights(client: AsyncClient, tmp_path: Path) -> None:
    run = await growing(client, on_update="recompute")
    await run.publish_weights(saved(tmp_path, 1)[0], 1)
    trees, _ = await trees_of(run)
    nodes = [node for tree in trees for node in tree.nodes]
    assert any(len(node.weight_versions) == 2 for node in nodes)
    assert not any(node.kv_mixed for node in nodes)


async def test_no_staleness_at_all_gives_trees_of_the_version_in_force_only(
    client: AsyncClient, tmp_path: Path
) -> None:
    run = await growing(client, max_staleness=0)
    PACE.step_s = BRISK_S
    trees: list[TreeRecord] = []
    errors: list[str] = []
    version = 0
    async for batch in run.batches(trees=1, allow_empty=True):
        for tree in batch.trees:
            assert {span.version for node in tree.nodes for span in node.weight_versions} == {version}
            assert all((sample.staleness, sample.staleness_newest) == (0, 0) for sample in tree.samples)
        trees += batch.trees
        errors += [failure.error for failure in batch.failures]
        if version < 3:
            version += 1
            await run.publish_weights(saved(tmp_path, version)[0], version)
    status = await run.status()
    assert len(trees) + len(errors) == 12
    assert status.withheld + status.stale_trees > 0
    assert set(status.staleness) <= {0}
    assert all("max_staleness is 0" in error for error in errors)


@pytest.mark.parametrize(
    ("config", "withheld"),
    [
        ({"max_staleness": 1}, True),
        ({"max_staleness": 2}, False),
        ({"max_staleness": 1, "when_stale": "mark"}, False),
        ({"max_staleness": 1, "staleness_by": "newest"}, True),
        ({}, False),
    ],
)
async def test_a_tree_that_waited_too_long_is_withheld_or_says_how_old_it_is(
    client: AsyncClient, tmp_path: Path, config: dict[str, Any], withheld: bool
) -> None:
    run = await growing(client, tasks=1, **config)
    PACE.step_s = 0.0

    async def ended() -> bool:
        return (await run.status()).ended

    await eventually(ended)
    for version in (1, 2):
        await run.publish_weights(saved(tmp_path, version)[0], version)
    trees, errors = await trees_of(run)
    status = await run.status()
    if withheld:
        assert trees == []
        [error] = errors
        assert "token is of weights version 0, 2 behind version 2, and max_staleness is 1" in error
        assert (status.withheld, status.staleness) == (1, {})
    else:
        [tree] = trees
        assert {sample.staleness for sample in tree.samples} == {2}
        assert (status.withheld, status.staleness) == (0, {2: 1})
    assert (await client.audit()).violations == []


@pytest.mark.parametrize("config", [{"staleness_by": "newest"}, {"when_stale": "mark"}])
async def test_a_rule_for_old_trees_without_a_bound_is_refused(client: AsyncClient, config: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput, match="is set without max_staleness, so it says nothing"):
        await client.create_run("run", **RUN, **config)


async def test_a_restarted_service_brings_its_replicas_to_the_version_in_force(tmp_path: Path) -> None:
    store = MemoryStore()
    path, digest = saved(tmp_path, 7)
    async with local_service(store) as service, await connect_async(service.address) as client:
        start(service, "r0")
        await service.joined()
        await client.publish_weights(path, 7)
    async with local_service(store) as service, await connect_async(service.address) as client:
        status = await client.weights()
        assert (status.version, status.digest, status.replicas) == (7, digest, [])
        start(service, "r0", incarnation=2)

        async def caught_up() -> bool:
            return [(one.version, one.state) for one in (await client.weights()).replicas] == [(7, "ready")]

        await eventually(caught_up)


async def test_weights_that_were_staging_when_the_service_died_come_after_its_restart(tmp_path: Path) -> None:
    store = MemoryStore()
    path, _ = saved(tmp_path, 7)
    async with local_service(store) as service, await connect_async(service.address) as client:
        status = await client.publish_weights(path, 7, wait=False)
        assert status.publication is not None
        assert status.publication.phase == "staging"
    async with local_service(store) as service, await connect_async(service.address) as client:
        start(service, "r0", incarnation=2)
        assert (await client.publish_weights(path, 7)).version == 7


async def test_a_pool_has_weights_of_its_own(tmp_path: Path) -> None:
    async with local_service(pools=("small", "large")) as service, await connect_async(service.address) as client:
        for pool in ("small", "large"):
            start(service, f"{pool}-0", pool=pool)
        await service.joined()
        run = await client.create_run("run", **RUN, model="small")
        await run.publish_weights(saved(tmp_path, 1)[0], 1)
        assert ((await client.weights("small")).version, (await client.weights("large")).version) == (1, 0)
        several = await client.create_run("several", **ROUTED)
        with pytest.raises(InvalidInput, match="run 'several' grows trees with several models: say with pool= whose"):
            await several.publish_weights(saved(tmp_path, 2)[0], 2)
        assert (await several.publish_weights(tmp_path / "step-2", 2, pool="large")).pool == "large"
        with pytest.raises(UnknownPool, match="there is no pool '': the service serves 'small' and 'large'"):
            await client.weights()


async def test_without_a_replica_a_version_is_refused_in_time(tmp_path: Path) -> None:
    config = CoordinatorConfig(port=0, heartbeat_s=0.2, lease_s=2.0, stage_s=0.5)
    async with local_service(coordinator=config) as service, await connect_async(service.address) as client:
        with pytest.raises(WeightsRefused, match=r"no replica was ready to stage it within 0.5 s"):
            await client.publish_weights(saved(tmp_path, 1)[0], 1)


def test_the_synchronous_client_publishes_too_and_the_service_shows_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with running_service(replicas=2) as address, treeroll.connect(address) as client:
        path = tmp_path / "step-1"
        digest = treeroll.save_weights({"any": np.ones(3, np.float32)}, path)
        run = client.create_run("run", **RUN)
        status = run.publish_weights(path, 1)
        assert (status.version, status.digest) == (1, digest)
        assert client.weights().version == 1
        assert client.publish_weights(path, 1).version == 1
        assert app.run(["status", "--address", address]) == 0
    assert "version 1" in capsys.readouterr().out
