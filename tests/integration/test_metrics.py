"""Metrics, as Prometheus reads them: of a real service, of one with a great deal of everything, and of none."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families
from tests.support.eventually import eventually
from tests.support.promtool import promtool

from treeroll.client import AsyncClient
from treeroll.demo import TASKS_FILE
from treeroll.metrics import page
from treeroll.metrics.catalogue import CATALOGUE, REPLICA_CATALOGUE
from treeroll.metrics.metric import StoreFigures
from treeroll.metrics.render import render
from treeroll.pb.v1.watch_pb2 import GroupFigures, Snapshot
from treeroll.tasks import read_tasks
from treeroll.testing.service import LocalService

PAGE = Path(__file__).parents[2] / "docs" / "metrics.md"
STORE = StoreFigures(up=True, used_bytes=5 << 20, max_bytes=1 << 30, evicted_keys=0, delayed_fsyncs=2)
ALL = (*CATALOGUE, *REPLICA_CATALOGUE)
EVIL = 'a"b\\c\nd'


def samples(text: bytes) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    """By name and labels, as Prometheus' own client parses them."""
    families = text_string_to_metric_families(text.decode())
    found = [(one.name, tuple(sorted(one.labels.items())), one.value) for family in families for one in family.samples]
    assert len({(name, labels) for name, labels, _ in found}) == len(found), "a series comes twice"
    return {(name, labels): value for name, labels, value in found}


async def test_a_scrape_of_a_real_service_passes_promtool_and_has_what_the_catalogue_promises(
    service: LocalService, client: AsyncClient
) -> None:
    run = await client.create_run(
        "run", recipe="treepo", leaves=8, segment_tokens=32, scorer="arith", budget={"leaves": 1000, "seconds": 3600}
    )
    await run.submit(read_tasks(TASKS_FILE, limit=4))
    await run.close()
    async for batch in run.batches():
        await batch.ack()

    async def latest() -> Snapshot | None:
        snapshot = Snapshot.FromString(await service.store.load_snapshot() or b"")
        return snapshot if snapshot.totals.finished == 4 and snapshot.groups else None

    await eventually(latest, interval_s=0.2)
    snapshot = await latest()
    assert snapshot is not None
    text = render(snapshot, None, STORE)
    checked = promtool(["check", "metrics"], text)
    assert checked.returncode == 0, (checked.stdout + checked.stderr).decode()
    found = samples(text)
    names = {name for name, _ in found}
    for metric in CATALOGUE:
        scraped = metric.full_name in names or f"{metric.full_name}_bucket" in names
        assert scraped or metric.when, f"{metric.full_name} is in the catalogue, and in no scrape"
    assert names >= {"treeroll_run_budget", "treeroll_run_deadline_timestamp_seconds", "treeroll_rewards_total"}
    status = await run.status()
    assert found["treeroll_generated_tokens_total", ()] == status.ledger.spent
    assert found["treeroll_run_generated_tokens_total", (("run", "run"),)] == status.ledger.spent
    assert found["treeroll_leaves_total", ()] == status.leaves
    assert found["treeroll_trees_total", (("status", "finished"),)] == 4
    assert found["treeroll_replicas", (("pool", ""), ("state", "ready"))] == 1
    assert found["treeroll_slots", (("pool", ""),)] == 32
    assert found["treeroll_rewards_total", (("outcome", "scored"), ("scorer", "arith"))] == status.leaves
    commits = sum(snapshot.loop.commit_s.counts)
    assert found["treeroll_commit_duration_seconds_count", ()] == commits
    assert found["treeroll_commit_duration_seconds_bucket", (("le", "+Inf"),)] == commits


def crowded() -> Snapshot:
    """A service with a great deal of everything that has no bound of its own."""
    snapshot = Snapshot(at=1.0, epoch=1, version="1")
    snapshot.pools.add(name="small").kept_replicas = 500
    snapshot.pools.add(name="large")
    for number in range(1000):
        snapshot.replicas.add(replica_id=f"r{number}", pool="small", state="ready", losses=1)
    for number in range(100):
        run = snapshot.runs.add(run_id=f"run {number}", deadline=5.0)
        for resource in ("tokens", "leaves", "expansions", "tool_calls"):
            run.caps.add(resource=resource, limit=10)
        snapshot.groups.add(run_id=f"run {number}", group=EVIL, waiting=number, acknowledged=1, stuck_s=number)
        scorer = snapshot.scorers.add(scorer=f"http://scorer-{number}", scored=1)
        scorer.seconds.bounds.extend([0.1, 1.0, 10.0])
        scorer.seconds.counts.extend([1, 0, 0, 0])
    return snapshot


def test_what_has_no_bound_is_cut_and_the_rest_is_counted_together() -> None:
    found = samples(render(crowded(), None, STORE))
    assert len(found) < 2000
    assert len({dict(labels)["run"] for name, labels in found if name == "treeroll_run_leaves_total"}) == 20
    assert found["treeroll_feed_trees", (("group", "other"), ("run", "other"), ("state", "waiting"))] == sum(range(68))
    assert found["treeroll_feed_stuck_seconds", (("group", "other"), ("run", "other"))] == 67
    assert found["treeroll_feed_acknowledged_total", (("group", "other"), ("run", "other"))] == 68
    assert found["treeroll_rewards_total", (("outcome", "scored"), ("scorer", "other"))] == 68
    assert found["treeroll_replica_losses_total", (("pool", "small"),)] == 1000


def test_names_may_hold_anything() -> None:
    text = render(crowded(), None, None)
    assert promtool(["check", "metrics"], text).returncode == 0
    assert EVIL in {dict(labels).get("group") for _, labels in samples(text)}


def test_where_nobody_ever_said_anything_that_is_what_is_scraped() -> None:
    text = render(None, None, StoreFigures(up=False))
    assert promtool(["check", "metrics"], text).returncode == 0
    found = samples(text)
    assert (found["treeroll_snapshot_timestamp_seconds", ()], found["treeroll_store_up", ()]) == (0, 0)
    assert not [name for name, _ in found if "memory" in name]


def test_newer_groups_take_the_place_of_the_snapshot_s() -> None:
    newer = [GroupFigures(run_id="run", group="g", waiting=5)]
    found = samples(render(crowded(), newer))
    assert [labels for name, labels in found if name == "treeroll_feed_stuck_seconds"] == [
        (("group", "g"), ("run", "run"))
    ]


def names() -> Iterator[str]:
    for metric in ALL:
        yield metric.name


def test_names_are_of_one_form_and_come_once() -> None:
    assert len(set(names())) == len(ALL)
    for metric in ALL:
        assert (metric.kind == "counter") == metric.name.endswith("_total"), metric.name
        assert not set(metric.labels) & {"tree", "task", "prompt", "user", "path", "le"}, metric.name


def test_the_page_is_current() -> None:
    assert PAGE.read_text() == page.page(), "run: python -m treeroll.metrics.page > docs/metrics.md"


@pytest.mark.parametrize("metric", ALL, ids=lambda metric: metric.name)
def test_every_metric_says_what_it_is_in_a_sentence(metric: object) -> None:
    text = getattr(metric, "help", "")
    assert text.endswith(".")
    assert "|" not in text
