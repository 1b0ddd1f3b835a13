"""`treeroll top` and `treeroll status --check`, against a service whose store is a real Redis."""

import json
from collections.abc import Iterator

import pytest
from rich.console import Console
from tests.support.eventually import eventually_sync
from tests.support.ports import free_port

from treeroll.cli.main import app
from treeroll.cli.top import screen
from treeroll.client import connect
from treeroll.demo import TASKS_FILE
from treeroll.pb.v1.watch_pb2 import Snapshot
from treeroll.store.embedded import EmbeddedRedis
from treeroll.store.redis import RedisStore
from treeroll.tasks import read_tasks
from treeroll.testing.service import running_service
from treeroll.watch.view import View

WIDTH = 80


@pytest.fixture(autouse=True)
def narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", str(WIDTH))


@pytest.fixture
def service(empty_redis: EmbeddedRedis) -> Iterator[tuple[str, str]]:
    """Addresses of a service and of its store, where four trees have been grown and acknowledged."""
    with running_service(store=RedisStore(empty_redis.url)) as address:
        with connect(address) as client:
            run = client.create_run("run", recipe="treepo", leaves=8, segment_tokens=32, scorer="arith")
            run.submit(read_tasks(TASKS_FILE, limit=4))
            run.close()
            for batch in run.batches():
                batch.ack()
        yield address, empty_redis.url


def test_a_healthy_service_is_all_well_and_fits_in_80_columns(
    service: tuple[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    address, _ = service

    def all_there() -> bool:
        assert app.run(["top", "--json", "--address", address]) == 0
        found = json.loads(capsys.readouterr().out)
        return found["verdict"] == [] and found["snapshot"].get("totals", {}).get("finished") == "4"

    eventually_sync(all_there, interval_s=0.2)
    assert app.run(["status", "--check", "--address", address]) == 0
    assert capsys.readouterr().out == "all well\n"
    assert app.run(["top", "--once", "--address", address]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= WIDTH
    assert lines[1].strip() == "all well"
    assert any(line.split()[:3] == ["r0", "ready", "0/16"] for line in lines)
    assert any(line.split()[:3] == ["run", "closed", "4/4"] for line in lines)


def replicas(server: EmbeddedRedis, capsys: pytest.CaptureFixture[str]) -> list[str]:
    """Those of the last news in a store."""
    capsys.readouterr()
    app.run(["top", "--json", "--store", server.url])
    snapshot = json.loads(capsys.readouterr().out)["snapshot"] or {}
    return [replica["replica_id"] for replica in snapshot.get("replicas", [])]


def test_the_last_news_of_a_dead_service_are_shown_with_their_age(
    empty_redis: EmbeddedRedis, capsys: pytest.CaptureFixture[str]
) -> None:
    with running_service(store=RedisStore(empty_redis.url)) as address:
        eventually_sync(lambda: replicas(empty_redis, capsys) == ["r0"], interval_s=0.2)
        assert app.run(["status", "--check", "--store", empty_redis.url]) == 0
    capsys.readouterr()
    eventually_sync(lambda: app.run(["status", "--check", "--store", empty_redis.url]) == 1, interval_s=0.5)
    assert "PAGE CoordinatorSilent: no news from the coordinator for" in capsys.readouterr().out
    assert app.run(["top", "--once", "--store", empty_redis.url]) == 0
    out = capsys.readouterr().out
    assert "PAGE: no news from the coordinator for" in out
    assert "r0" in out
    assert app.run(["status", "--check", "--address", address]) == 1
    assert "error: " in capsys.readouterr().err
    assert app.run(["top", "--once", "--address", address]) == 2  # who looks has the wrong address


def test_a_store_that_is_away_or_was_never_a_service_s_is_an_alarm(
    empty_redis: EmbeddedRedis, capsys: pytest.CaptureFixture[str]
) -> None:
    assert app.run(["status", "--check", "--store", empty_redis.url]) == 1
    assert "no coordinator has ever said how it is in this store" in capsys.readouterr().out
    assert app.run(["status", "--check", "--store", f"redis://127.0.0.1:{free_port()}/0"]) == 1
    assert "PAGE StoreAway: the store does not answer" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("args", "sentence"),
    [
        (["status", "--check", "--store", "http://here"], "the store URL must be redis://"),
        (["top", "--once", "--store", "memory"], "keeps its store in memory"),
        (["status", "--store", "redis://127.0.0.1:1/0"], "--store is for --check"),
    ],
)
def test_what_cannot_be_looked_at_is_bad_input(
    args: list[str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert app.run(args) == 2
    assert sentence in capsys.readouterr().err


def test_hostile_names_cannot_control_the_terminal() -> None:
    evil = "\x1b[2J\u202eevil"
    snapshot = Snapshot(at=1.0, host=evil, known_runs=1)
    snapshot.runs.add(run_id=evil)
    snapshot.replicas.add(replica_id="r0", state="quarantined", reason=evil)
    snapshot.groups.add(run_id=evil, group=evil)
    snapshot.pools.add(name=evil)
    snapshot.violations.add(invariant="Bounded", detail=evil)
    console = Console(width=WIDTH, record=True, force_terminal=False, color_system=None)
    console.print(screen(View(1.0, snapshot)))
    text = console.export_text()
    assert "\x1b" not in text
    assert "\u202e" not in text
    assert "\\x1b[2J" in text
