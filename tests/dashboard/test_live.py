"""A service's store as a source: the same answers as results give, and what is said when something is away."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from redis import Redis
from starlette.testclient import TestClient
from tests.dashboard.conftest import asking, served
from tests.support.eventually import eventually, eventually_sync
from tests.support.rollouts import RUN

from treeroll.client import TreeRecord, connect_async
from treeroll.dashboard.index import CAUSES
from treeroll.dashboard.poller import Look
from treeroll.dashboard.sources.live import LiveSource
from treeroll.dashboard.sources.results import ResultSource
from treeroll.dashboard.sources.state import percentile, state
from treeroll.demo import TASKS_FILE
from treeroll.pb.v1.watch_pb2 import Histogram, ReplicaFigures, Snapshot
from treeroll.results.directory import ResultDir
from treeroll.results.parts import PartWriter
from treeroll.results.session import Session
from treeroll.store import keys
from treeroll.store.embedded import EmbeddedRedis
from treeroll.store.redis import RedisStore
from treeroll.tasks import read_tasks
from treeroll.testing.service import local_service

READER = (
    "resetkeys ~treeroll:1:* resetchannels -@all +@read -@dangerous +ping +info +time +multi +exec +hello +auth "
    "+xinfo +xpending +slowlog|get +client|setname +select +dbsize"
)


@pytest.fixture
async def trees(empty_redis: EmbeddedRedis) -> AsyncIterator[list[TreeRecord]]:
    """Four trees that a service grew into a Redis, and has said so."""
    store = RedisStore(empty_redis.url)
    async with local_service(store=store) as service:
        service.start_replica("r0", slots=32)
        async with await connect_async(service.address) as client:
            run = await client.create_run("run", **RUN)
            await run.submit(read_tasks(TASKS_FILE, limit=4))
            await run.close()
            grown = [tree async for batch in run.batches() for tree in batch.trees]

            async def told() -> bool:
                snapshot = Snapshot.FromString(await store.load_snapshot() or b"")
                return snapshot.totals.finished == 4

            await eventually(told, interval_s=0.1)
            yield grown


@pytest.fixture
def source(trees: list[TreeRecord], empty_redis: EmbeddedRedis) -> Iterator[LiveSource]:
    yield from watching(empty_redis.url)


def watching(url: str) -> Iterator[LiveSource]:
    source = LiveSource(url)
    yield source
    source.close()


async def answers(source: Any, trees: list[TreeRecord]) -> list[Any]:
    """Everything that is told of trees."""

    def ask() -> list[Any]:
        found: list[Any] = []
        for client in asking(source):
            for tree in trees:
                path = f"/api/1/trees/{tree.tree_id}"
                header = client.get(path).json()
                found.append({name: value for name, value in header.items() if name not in ("as_of", "epoch")})
                found.append(client.get(f"{path}/shape").content)
                found.append(client.get(f"{path}/nodes?numbers=0,1,{len(tree.nodes) - 1}").json()["items"])
                found.append(client.get(f"{path}/path/{len(tree.nodes) - 1}").json()["items"])
        return found

    return await asyncio.to_thread(ask)


async def test_a_tree_is_told_the_same_from_a_store_and_from_results(
    trees: list[TreeRecord], source: LiveSource, tmp_path: Path
) -> None:
    PartWriter(ResultDir(tmp_path), 0).write(trees, Session("run"))
    assert await answers(source, trees) == await answers(ResultSource(tmp_path), trees)


async def test_every_list_of_a_service_is_a_file(trees: list[TreeRecord], source: LiveSource) -> None:
    def ask() -> None:
        for client in asking(source):

            def rows(name: str, client: TestClient = client) -> list[dict[str, Any]]:
                return client.get(f"/api/1/download/{name}.json").json()["items"]

            eventually_sync(lambda: rows("groups"), interval_s=0.2)  # they are told every 5 s
            found = {name: rows(name) for name in ("runs", "trees", "replicas", "groups", "events", "decisions")}
            assert [row["run_id"] for row in found["runs"]] == ["run"]
            assert {row["tree_id"] for row in found["trees"]} == {tree.tree_id for tree in trees}
            assert [row["replica_id"] for row in found["replicas"]] == ["r0"]
            assert {row["run_id"] for row in found["groups"]} == {"run"}
            assert "replica_joined" in {row["kind"] for row in found["events"]}
            assert {row["tree"] for row in found["decisions"]} == {tree.tree_id for tree in trees}
            tasks = client.get("/api/1/download/tasks.json?run=run").json()["items"]
            spent = {tree.task_id: (1, 0, tree.ledger.spent) for tree in trees}
            assert {row["task_id"]: (row["trees"], row["unfinished"], row["spent"]) for row in tasks} == spent
            assert client.get("/api/1/runs/none/tasks").status_code == 404
            head, row = client.get("/api/1/download/replicas.csv").text.splitlines()
            assert row.split(",")[head.split(",").index("replica_id")] == "r0"

    await asyncio.to_thread(ask)


async def test_lists_of_runs_and_trees_are_those_of_the_service(trees: list[TreeRecord], source: LiveSource) -> None:
    def ask() -> None:
        for client in asking(source):
            (run,) = client.get("/api/1/runs").json()["items"]
            assert (run["run_id"], run["trees"], run["recipe"]) == ("run", 4, "treepo")
            assert (run["finished"], run["failed"], run["filtered"]) == (4, 0, 0)
            assert run["spent"] == sum(tree.ledger.spent for tree in trees)
            assert run["leaves"] == sum(len(tree.samples) for tree in trees)
            assert client.get("/api/1/runs/run").json()["config"]["leaves"] == RUN["leaves"]
            page = client.get("/api/1/trees?order=task&direction=asc").json()
            assert page["total"] == 4
            assert [row["tree_id"] for row in page["items"]] == [
                tree.tree_id for tree in sorted(trees, key=lambda tree: tree.task_id)
            ]
            for row, tree in zip(page["items"], sorted(trees, key=lambda tree: tree.task_id), strict=True):
                rewards = [sample.reward for sample in tree.samples if sample.reward is not None]
                assert row["mean_reward"] == pytest.approx(sum(rewards) / len(rewards))
                assert (row["status"], row["n_leaves"]) == (tree.status, len(tree.samples))
                assert row["wasted_tokens"] == sum(row[cause] for cause in CAUSES) == tree.row().wasted_tokens
                assert row["replicas"] == list(tree.row().replicas) == ["r0"]
            worst = client.get("/api/1/trees?order=wasted").json()["items"]
            wasted = [row["wasted_tokens"] for row in worst]
            assert wasted == sorted(wasted, reverse=True)
            assert sum(wasted) > 0
            assert client.get("/api/1/trees/none").status_code == 404
            assert client.get("/api/1/runs/none").status_code == 404

    await asyncio.to_thread(ask)


async def test_the_stream_says_each_second_how_the_service_is(trees: list[TreeRecord], source: LiveSource) -> None:
    def first_two() -> list[dict[str, Any]]:
        import urllib.request

        from tests.dashboard.conftest import TOKEN

        found: list[dict[str, Any]] = []
        with served(source) as address:
            request = urllib.request.Request(  # noqa: S310 - ours
                f"{address.partition('/#')[0]}/api/1/live", headers={"authorization": f"Bearer {TOKEN}"}
            )
            with urllib.request.urlopen(request) as stream:  # noqa: S310
                for line in stream:
                    if line.startswith(b"data: "):
                        found.append(json.loads(line[6:]))
                    if len(found) > 1 and found[-1]["phase"] == "live" and not found[-1]["verdict"]:
                        return found[-2:]  # on a busy machine, the first ones may be old news
        return found

    before, after = await asyncio.to_thread(first_two)
    assert after["turn"] > before["turn"]
    assert (after["phase"], after["verdict"]) == ("live", [])
    snapshot = after["snapshot"]
    assert snapshot["totals"]["finished"] == 4
    table = snapshot["replicas"]
    assert [row[table["names"].index("replica_id")] for row in table["rows"]] == ["r0"]
    assert set(after["waiting"]) == {"slot", "engine", "budget", "rate", "judge", "held", "scorer"}


async def test_of_a_group_is_told_what_it_has_not_acknowledged_and_why(
    trees: list[TreeRecord], source: LiveSource, empty_redis: EmbeddedRedis
) -> None:
    with Redis.from_url(empty_redis.url) as redis:
        redis.xgroup_create(keys.feed("run"), "late", "0")
        redis.xreadgroup("late", "slow", {keys.feed("run"): ">"}, count=3)
        redis.xack(keys.feed("run"), "late", "2-0")
        redis.zadd(keys.leases("run", "late"), {f"{3:016d}": 0})  # given back
        order = [fields[b"tree"].decode() for _, fields in redis.xrange(keys.feed("run"))]

    def ask() -> None:
        for client in asking(source):
            items = client.get("/api/1/feed/run/late").json()["items"]
            assert [(one["place"], one["tree_id"]) for one in items] == [(n, order[n - 1]) for n in (1, 3, 4)]
            assert [one["waits_for"] for one in items] == [
                "for slow to acknowledge it",
                "for the group to ask again: its lease has ended, or it was given back",
                "for the group to ask for it",
            ]
            assert [(one["consumer"], one["deliveries"]) for one in items] == [("slow", 1), ("slow", 1), ("", 0)]
            assert client.get("/api/1/feed/run/nobody").status_code == 404
            assert client.get("/api/1/feed/none/late").status_code == 404

    await asyncio.to_thread(ask)


async def test_a_user_who_may_only_read_is_enough(trees: list[TreeRecord], empty_redis: EmbeddedRedis) -> None:
    with Redis.from_url(empty_redis.url) as admin:
        admin.xgroup_create(keys.feed("run"), "late", "0")
        admin.execute_command("ACL", "SETUSER", "reader", "on", ">secret", *READER.split())
        try:

            def ask() -> None:
                for source in watching(empty_redis.url.replace("unix://", "unix://reader:secret@")):
                    for client in asking(source):
                        for path in (
                            "/runs",
                            "/trees",
                            f"/trees/{trees[0].tree_id}/shape",
                            "/feed",
                            "/feed/run/late",
                            "/store",
                        ):
                            assert client.get(f"/api/1{path}").status_code == 200
                        assert client.get("/api/1/store").json()["error"] == ""

            await asyncio.to_thread(ask)
        finally:
            admin.execute_command("ACL", "DELUSER", "reader")


def test_an_empty_store_is_told_as_such(empty_redis: EmbeddedRedis) -> None:
    for source in watching(empty_redis.url):
        assert source.live()[1]["phase"] == "nothing yet"
        for client in asking(source):
            assert client.get("/api/1/runs").json()["items"] == []
            assert client.get("/api/1/trees").json()["total"] == 0


def test_a_store_that_is_away_is_a_sentence_and_503(tmp_path: Path) -> None:
    for source in watching(f"unix://{tmp_path}/none.sock"):
        _, message = source.live()
        assert message["phase"] == "store away"
        assert message["verdict"][0]["rule"] == "StoreAway" or message["verdict"][0]["severity"] == "page"
        for client in asking(source):
            answer: Any = client.get("/api/1/trees")
            assert answer.status_code == 503
            assert "does not answer" in answer.json()["error"]
            assert client.get("/api/1/store").json()["error"]  # what is known of a store that is away


@pytest.fixture
def mute_store() -> Iterator[str]:
    """The address of a store that takes connections, and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield f"redis://127.0.0.1:{listener.getsockname()[1]}/0"


def test_a_store_that_never_answers_is_a_sentence_and_503(mute_store: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for source in watching(mute_store):
        assert source.live()[1]["phase"] == "store away"
        for client in asking(source):
            answer: Any = client.get("/api/1/trees")
            assert (answer.status_code, "does not answer" in answer.json()["error"]) == (503, True)
            monkeypatch.setattr("treeroll.dashboard.poller.ANSWER_S", 0.1)
            monkeypatch.setattr(source._reader, "runs", asyncio.Event().wait)  # one command may take longer than that
            answer = client.get("/api/1/runs")
            assert (answer.status_code, "is slow: no answer" in answer.json()["error"]) == (503, True)
            monkeypatch.undo()


def test_a_snapshot_that_nobody_renews_is_stale_and_says_whose_it_was(empty_redis: EmbeddedRedis) -> None:
    old = Snapshot(at=1e9, epoch=4, pid=4711, host="here")
    with Redis.from_url(empty_redis.url) as redis:
        redis.set(keys.STATUS, old.SerializeToString())
    for source in watching(empty_redis.url):
        _, message = source.live()
        assert message["phase"] == "stale"
        assert "last epoch 4, pid 4711 on here" in message["verdict"][0]["sentence"]


def test_a_message_of_a_hundred_replicas_is_small() -> None:
    figures = {"branches": 60, "slots": 64, "running": 58, "waiting": 2, "kv_usage": 0.8, "generated_tokens": 10**8}
    replicas = [
        ReplicaFigures(replica_id=f"gpu-{i}-0", incarnation=3, state="ready", tokens_per_s=1234.5, **figures)
        for i in range(100)
    ]
    message = state(Look(1, Snapshot(at=1.0, epoch=1, replicas=replicas), (), 1.0, 0.0))
    assert len(json.dumps(message, separators=(",", ":"))) <= 16_384


def test_a_percentile_is_the_bound_below_which_it_lies() -> None:
    first = Histogram(bounds=[1, 2, 4], counts=[5, 0, 0, 0])
    last = Histogram(bounds=[1, 2, 4], counts=[10, 4, 0, 1])
    assert percentile(first, last, 0.5) == 1
    assert percentile(first, last, 0.9) == 2
    assert percentile(first, last, 0.99) == 4  # and above: the highest bound is told
    assert percentile(last, last, 0.5) is None
