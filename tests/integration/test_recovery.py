"""A service on a store that has unfinished runs goes on with them, as if it had never been away."""

import asyncio
import json
import shutil
from contextlib import suppress
from pathlib import Path
from typing import Any, ClassVar

import pytest
from tests.support.eventually import eventually
from tests.support.pace import halting_engine

from treeroll.client import AsyncClient, AsyncRun, TreeRecord, connect_async
from treeroll.config import ScorersConfig
from treeroll.demo import MODEL_DIR, TASKS_FILE
from treeroll.errors import RunConflict, RunSuspended, StoreError, TreerollError
from treeroll.generator.config import SimulatedLatency
from treeroll.generator.detokenizer import Detokenizer
from treeroll.generator.session import SessionRefused
from treeroll.generator.simulated_engine import SimulatedEngine
from treeroll.pb.v1 import common_pb2 as pb
from treeroll.pb.v1 import rollout_pb2 as api
from treeroll.pb.v1 import store_pb2 as stored
from treeroll.store.base import Commit
from treeroll.store.memory import MemoryStore
from treeroll.tasks import read_tasks
from treeroll.testing.service import LocalService, local_service
from treeroll.tools import registry

TASKS = 3
SHORT: dict[str, Any] = {"segment_tokens": 8, "max_depth": 5, "scorer": "arith"}
RUNS: dict[str, dict[str, Any]] = {
    "treepo": {"recipe": "treepo", "leaves": 8, **SHORT},
    "rewards": {"recipe": "deepsearch", "leaves": 8, "branch": {"width": 2, "terminals": 4}, **SHORT},
    "judge": {"recipe": "bavt", "leaves": 6, "judge": "arith", "branch": {"value": "judge"}, **SHORT},
    "tokens and splits": {"recipe": "treerl", "leaves": 8, "branch": {"chains": 2, "places": 1}, **SHORT},
    "inserted text": {"recipe": "hbpo", "leaves": 6, "branch": {"budgets": [80, 120]}, **SHORT, "max_tokens": 120},
    "a tool": {
        "recipe": "tree_grpo", "leaves": 6, "max_depth": 4, "max_tokens": 200, "scorer": "arith", "seed": 5,
        "segment": {"name": "agent_step", "tool": "counter"},
    },
    "in order": {"recipe": "treepo", "leaves": 4, "order": "window", "window": 1, "ahead": 3, **SHORT},
    "held up": {"recipe": "treepo", "leaves": 4, "ahead": 2, **SHORT},
    "budgets": {"recipe": "treepo", "leaves": 4, "budget": {"task_tokens": 4000, "leaves": 100}, **SHORT},
}  # fmt: skip


class Counter:
    """The simulated engine writes lines: each calls for the number of characters of all of them."""

    name: ClassVar[str] = "counter"
    summary: ClassVar[str] = "counts characters"
    call_end: ClassVar[str] = "\n"

    def answer(self, text: str) -> str:
        return f"[{len(text)}]"


@pytest.fixture(autouse=True)
def counter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "TOOLS", {**registry.TOOLS, "counter": Counter()})


class Killed(StoreError):
    """The coordinator is dead."""


class Deadly(MemoryStore):
    """The coordinator dies at one of its commits, counted over all its lives: before or after it."""

    def __init__(self) -> None:
        super().__init__()
        self.commits = 0
        self.dies_at = 0

    async def commit(self, commit: Commit, epoch: int) -> None:
        if not commit:
            await super().commit(commit, epoch)
            return
        self.commits += 1
        dies = self.commits == self.dies_at
        if dies and self.commits % 2:
            raise Killed("before the commit")
        await super().commit(commit, epoch)
        if dies:
            raise Killed("after the commit")


def rows(tree: TreeRecord) -> tuple[object, ...]:
    """All that must not depend on who died when."""
    nodes = sorted(
        (node.path, tuple(node.token_ids), tuple(node.logprobs), node.text, node.status, node.stop_reason,
         node.branch_reason, node.decision, node.inserted_tokens, node.observation_tokens,
         [(reward.scorer, reward.value) for reward in node.rewards])
        for node in tree.nodes
    )  # fmt: skip
    return tree.task_id, tree.status, tree.n_censored, nodes


async def has_ended(service: LocalService) -> bool:
    return service.tasks[0].done()


async def started(client: AsyncClient, choice: dict[str, Any]) -> AsyncRun:
    run = await client.create_run("run", **choice)
    await run.submit(read_tasks(TASKS_FILE, limit=TASKS))
    await run.close()
    return run


async def live(store: MemoryStore, choice: dict[str, Any], life: int, got: dict[str, tuple[object, ...]]) -> bool:
    """One life of the service, with a trainer; whether it came to the run's end."""
    with suppress(Killed):
        async with local_service(store) as service, await connect_async(service.address) as client:
            assert not service.coordinator.recovered.damaged
            assert not service.coordinator.recovered.suspended
            for name in ("r0", "r1"):
                service.start_replica(name, life, slots=4, latency=SimulatedLatency(step_s=0.001))
            consuming = asyncio.create_task(consume(client, choice, got))
            dying = asyncio.create_task(eventually(lambda: has_ended(service)))
            await asyncio.wait([consuming, dying], return_when=asyncio.FIRST_COMPLETED)
            done = consuming.done()
            consuming.cancel()
            dying.cancel()
            [failed, _] = await asyncio.gather(consuming, dying, return_exceptions=True)
            if done and isinstance(failed, Exception) and not service.tasks[0].done():
                raise failed
            return done and failed is None
    return False


async def consume(client: AsyncClient, choice: dict[str, Any], got: dict[str, tuple[object, ...]]) -> None:
    run = await started(client, choice)
    async for batch in run.batches(trees=1, ack="manual"):
        [tree] = batch.trees
        assert got.setdefault(tree.tree_id, rows(tree)) == rows(tree)
        await batch.ack()
    assert (await client.audit()).violations == []


@pytest.mark.parametrize("choice", RUNS.values(), ids=RUNS.keys())
async def test_a_run_is_what_it_would_have_been_without_the_deaths_of_its_service(choice: dict[str, Any]) -> None:
    wanted: dict[str, tuple[object, ...]] = {}
    assert await live(MemoryStore(), choice, 1, wanted)
    assert len(wanted) == TASKS
    store, got, life = Deadly(), dict[str, tuple[object, ...]](), 1
    store.dies_at = 5
    while not await live(store, choice, life, got):
        life += 1
        store.dies_at = store.commits + 2**life
    assert life > 1
    assert got == wanted


async def grown_in_part(store: MemoryStore, **choice: Any) -> str:
    """A run with a tree that grows, whose service is gone; the tree's id."""
    async with local_service(store) as service, await connect_async(service.address) as client:
        service.serve_engine(halting_engine(1), "r0")
        run = await client.create_run("run", **{"recipe": "flat", "leaves": 2, **SHORT, **choice})
        [tree_id] = await run.submit(read_tasks(TASKS_FILE, limit=1))

        async def has_nodes() -> bool:
            return len((await client.get_tree(tree_id)).nodes) > 1

        await eventually(has_nodes)
    return tree_id


async def test_runs_that_have_ended_are_read_when_somebody_asks_for_them() -> None:
    store, names = MemoryStore(), ("consumed", "deleted", "expired", "same")
    choice = {"recipe": "flat", "leaves": 2, **SHORT}
    async with local_service(store) as service, await connect_async(service.address) as client:
        service.start_replica("r0")
        for name in names:
            run = await client.create_run(name, **choice)
            await run.submit(read_tasks(TASKS_FILE, limit=TASKS))
            await run.close()
            done = [tree async for batch in run.batches(trees=1, group="first") for tree in batch.trees]
            assert len(done) == TASKS
    await grown_in_part(store)
    async with (
        local_service(store, keep_acknowledged_s=0.0) as service,
        await connect_async(service.address) as client,
    ):
        runs = service.coordinator.state.runs
        assert list(runs) == ["run"]
        assert (await client.status()).run_ids == ["consumed", "deleted", "expired", "run", "same"]
        await service.retention.sweep(0.0)
        await service.retention.sweep(1.0)
        assert list(runs) == ["run"]
        assert (await (await client.run("expired")).status()).expired_trees == TASKS
        await client.delete_run("deleted")
        assert (await (await client.create_run("same", **choice)).status()).finished == TASKS
        consumed = (await client.run("consumed")).batches(trees=1, group="first")
        assert [tree async for batch in consumed for tree in batch.trees] == []
        assert sorted(runs) == ["consumed", "expired", "run", "same"]
        assert not (await client.audit()).violations
        assert not service.coordinator.violations


async def test_a_run_is_there_by_its_name_and_for_who_creates_it_again() -> None:
    store = MemoryStore()
    tree_id = await grown_in_part(store)
    async with local_service(store) as service, await connect_async(service.address) as client:
        status = await client.status()
        assert (status.recovered_trees, status.run_ids, status.suspended_runs) == (1, ["run"], {})
        assert status.recovered_nodes > 1
        run = await client.run("run")
        assert (await run.status()).growing == 1
        same = await client.create_run("run", recipe="flat", leaves=2, **SHORT)
        assert await same.submit(read_tasks(TASKS_FILE, limit=1)) == [tree_id]
        with pytest.raises(RunConflict, match="leaves is 2 there and 3 here"):
            await client.create_run("run", recipe="flat", leaves=3, **SHORT)
        service.start_replica("r0", 2)
        await run.close()
        [tree] = [tree async for batch in run.batches(trees=1) for tree in batch.trees]
        assert tree.tree_id == tree_id


def edit(store: MemoryStore, change: Any) -> None:
    """Change the stored record of the run."""
    record = api.Run.FromString(store._runs["run"])
    change(record)
    store._runs["run"] = record.SerializeToString()


def other_policies(record: api.Run) -> None:
    memory = stored.RunMemory.FromString(record.memory)
    memory.fingerprint = "of others"
    record.memory = memory.SerializeToString()


def unknown_policy(record: api.Run) -> None:
    record.config_json = record.config_json.replace('"flat"', '"gone"')


def earlier_version(record: api.Run) -> None:
    record.memory = b""


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (other_policies, "its policies are others now"),
        (unknown_policy, "gone"),
        (earlier_version, "an earlier version of treeroll grew it"),
    ],
)
async def test_a_run_that_cannot_go_on_is_suspended_with_the_reason_and_stops_nobody(change: Any, reason: str) -> None:
    store = MemoryStore()
    await grown_in_part(store)
    edit(store, change)
    async with local_service(store) as service, await connect_async(service.address) as client:
        service.start_replica("r0", 2)
        assert reason in (await client.status()).suspended_runs["run"]
        for call in (client.run("run"), client.create_run("run", recipe="flat", leaves=2, **SHORT)):
            with pytest.raises(RunSuspended, match=reason):
                await (await call).status()
        other = await client.create_run("other", recipe="flat", leaves=2, **SHORT)
        await other.submit(read_tasks(TASKS_FILE, limit=1))
        await other.close()
        assert len([tree async for batch in other.batches(trees=1) for tree in batch.trees]) == 1
        await client.delete_run("run")
        assert not (await client.status()).suspended_runs
        await client.create_run("run", recipe="flat", leaves=2, **SHORT)


def other_log_probabilities(record: api.Run) -> None:
    memory = stored.RunMemory.FromString(record.memory)
    assert memory.ground["log probabilities"] == "processed"
    memory.ground["log probabilities"] = "raw"
    record.memory = memory.SerializeToString()


def template(place: Path) -> dict[str, Any]:
    (place / "chat.jinja").write_text("{{ messages[0].content }} =")
    return {"chat_template": place / "chat.jinja"}


def ends(place: Path) -> dict[str, Any]:
    model = Path(shutil.copytree(MODEL_DIR, place / "copy"))
    (model / "generation_config.json").write_text('{"eos_token_id": [5]}')
    return {"model": model}


BEGUN = "its trees were begun with "


@pytest.mark.parametrize(
    ("change", "settings", "reason"),
    [
        (None, template, BEGUN + "tokenizer and chat template "),
        (None, ends, BEGUN + "ids that end texts of one model without a name "),
        (other_log_probabilities, None, BEGUN + "log probabilities raw, and the service has processed now; start it"),
        (
            None,
            lambda place: {"pools": ("small",)},
            "its trees grow with one model without a name, and would go on with 'small'; name the service's models as",
        ),
    ],
    ids=["template", "stop ids", "log probabilities", "pools"],
)
async def test_a_run_whose_service_has_other_settings_is_suspended_and_goes_on_when_it_has_them_again(
    change: Any, settings: Any, reason: str, tmp_path: Path
) -> None:
    """Its records say with what its trees were begun, and would not be true of what is grown otherwise."""
    store = MemoryStore()
    tree_id = await grown_in_part(store)
    before = store._runs["run"]
    if change is not None:
        edit(store, change)
    other = settings(tmp_path) if settings is not None else {}
    async with local_service(store, **other) as service, await connect_async(service.address) as client:
        assert reason in (await client.status()).suspended_runs["run"]
        assert service.coordinator.state.trees == {}
    store._runs["run"] = before
    async with local_service(store) as service, await connect_async(service.address) as client:
        service.start_replica("r0", 2)
        run = await client.run("run")
        await run.close()
        [tree] = [tree async for batch in run.batches(trees=1) for tree in batch.trees]
        assert (tree.tree_id, tree.status) == (tree_id, "complete")


async def test_a_run_whose_scorer_the_service_allows_no_more_is_suspended() -> None:
    store, scorer = MemoryStore(), "python:tests.support.scorer_functions:length"
    await grown_in_part(store, scorer=scorer)
    allowed = ScorersConfig(python_modules=("nothing.else",))
    async with local_service(store, allowed=allowed) as service, await connect_async(service.address) as client:
        assert scorer in (await client.status()).suspended_runs["run"]


async def test_a_run_of_a_version_that_did_not_store_its_settings_goes_on() -> None:
    store = MemoryStore()
    await grown_in_part(store)

    def forget(record: api.Run) -> None:
        memory = stored.RunMemory.FromString(record.memory)
        memory.ground.clear()
        del memory.pools[:]
        record.memory = memory.SerializeToString()

    edit(store, forget)
    async with local_service(store) as service:
        assert list(service.coordinator.state.runs) == ["run"]


def model_of(service: LocalService, name: str, model: Path) -> "asyncio.Task[None]":
    """A replica of this model joins, or is refused."""
    return service.serve_engine(
        SimulatedEngine(Detokenizer(MODEL_DIR).tokenizer, max_model_len=1024, model=str(model)), name
    )


def another_model(place: Path) -> Path:
    other = Path(shutil.copytree(MODEL_DIR, place / "other"))
    config = json.loads((other / "config.json").read_text())
    (other / "config.json").write_text(json.dumps({**config, "rope_theta": 1.0}))
    return other


async def test_after_a_restart_the_first_replica_cannot_be_of_another_model_while_a_run_grows(tmp_path: Path) -> None:
    store, other = MemoryStore(), another_model(tmp_path)
    async with local_service(store) as service, await connect_async(service.address) as client:
        model_of(service, "r0", MODEL_DIR)
        await service.joined()
        run = await client.create_run("run", recipe="flat", leaves=2, **SHORT)
    async with local_service(store) as service, await connect_async(service.address) as client:
        with pytest.raises(SessionRefused, match=r"digest .*, as replica r0 on .* said, which run 'run' grows with"):
            await model_of(service, "odd", other)
        assert service.coordinator.state.replicas == {}
        run = await client.run("run")
        await run.submit(read_tasks(TASKS_FILE, limit=1))
        model_of(service, "r1", MODEL_DIR)
        await service.joined()
        await run.close()
        assert [tree.status async for batch in run.batches(trees=1) for tree in batch.trees] == ["complete"]
    async with local_service(store) as service:  # nothing grows any more: what comes first decides
        model_of(service, "odd", other)
        await service.joined()
        pool = service.coordinator.state.pools[""]
        assert pool.model is not None
        assert pool.model.path == str(other)


async def test_a_run_that_is_suspended_keeps_the_model_of_its_pool(tmp_path: Path) -> None:
    store, other = MemoryStore(), another_model(tmp_path)
    async with local_service(store) as service, await connect_async(service.address) as client:
        model_of(service, "r0", MODEL_DIR)
        await service.joined()
        await client.create_run("run", recipe="flat", leaves=2, **SHORT)
    edit(store, other_policies)
    async with local_service(store) as service, await connect_async(service.address) as client:
        with pytest.raises(SessionRefused, match="which run 'run' grows with: start replicas with that model, or"):
            await model_of(service, "odd", other)
        await client.delete_run("run")
        model_of(service, "odd", other)
        await service.joined()


async def test_a_tree_that_is_stored_otherwise_than_it_grows_is_counted_and_named_and_grows_anew() -> None:
    store = MemoryStore()
    tree_id = await grown_in_part(store)
    node = pb.Node.FromString(store._trees[tree_id].nodes[1])
    node.depth += 1
    store._trees[tree_id].nodes[1] = node.SerializeToString()
    async with local_service(store) as service, await connect_async(service.address) as client:
        status = await client.status()
        assert (status.recovered_trees, list(status.damaged_trees)) == (0, [tree_id])
        assert f"tree {tree_id} cannot be grown again" in status.damaged_trees[tree_id]
        service.start_replica("r0", 2)
        run = await client.run("run")
        await run.close()
        [tree] = [tree async for batch in run.batches(trees=1) for tree in batch.trees]
        assert (tree.tree_id, tree.status) == (tree_id, "complete")
        assert (await client.audit()).violations == []


async def test_a_node_that_cannot_be_read_is_a_damaged_tree() -> None:
    store = MemoryStore()
    tree_id = await grown_in_part(store)
    store._trees[tree_id].nodes[1] = b"\xff"
    async with local_service(store) as service, await connect_async(service.address) as client:
        assert f"tree {tree_id} cannot be read" in (await client.status()).damaged_trees[tree_id]
        service.start_replica("r0", 2)
        run = await client.run("run")
        await run.close()
        assert [tree.tree_id async for batch in run.batches(trees=1) for tree in batch.trees] == [tree_id]
        assert (await run.status()).damaged == 1
        assert (await client.audit()).violations == []


async def test_an_error_of_the_core_is_no_reason_to_start_without_a_run() -> None:
    """A store that is away while it is read stops the start: runs must not be missing for that."""

    class Away(MemoryStore):
        async def load_tasks(self, run_id: str) -> dict[str, tuple[str, str]]:
            raise StoreError("the store refused a command")

    store = Away()
    await grown_in_part(store)
    with pytest.raises(TreerollError, match="refused a command"):
        async with local_service(store):
            pass
