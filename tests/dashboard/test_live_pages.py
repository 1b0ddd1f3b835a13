"""Live pages in a real browser: news that come, that stop coming, and that come again, without a reload."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from playwright.sync_api import Browser, expect
from redis import Redis
from tests.dashboard.watched import HOSTILE, INJECTED, Watched, hostile, look

from treeroll.dashboard.sources.live import LiveSource
from treeroll.pb.v1.rollout_pb2 import Run
from treeroll.pb.v1.watch_pb2 import (
    GroupFigures,
    PoolFigures,
    ReplicaFigures,
    RunTotals,
    ScorerFigures,
    Snapshot,
)
from treeroll.store import keys
from treeroll.store.embedded import EmbeddedRedis

pytestmark = pytest.mark.browser

NEWS_S = 0.5
PAGES = ("/overview", "/replicas", "/runs", "/trees", "/feed", "/store", "/events", "/about")


class Service:
    """Says what a service would."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    def says(self, **more: Any) -> None:
        now = time.time()
        pool = PoolFigures(replicas=3, ready_replicas=2, slots=64, running=40, waiting_slot=7, waiting_engine=3)
        replicas = [
            ReplicaFigures(replica_id=f"gpu-{i}", incarnation=1, state=state, slots=32, branches=20, tokens_per_s=speed)
            for i, (state, speed) in enumerate((("ready", 900.0), ("ready", 880.0), ("quarantined", 0.0)))
        ]
        replicas[2].reason = more.pop("reason", "it sent what cannot be")
        run = Run(run_id="math", state="open", submitted=10, finished=4, growing=2)
        self._redis.hset(keys.RUNS, run.run_id, run.SerializeToString())
        snapshot = Snapshot(
            at=now,
            epoch=4,
            since=now - 60,
            pid=4711,
            host="here",
            pools=[pool],
            replicas=replicas,
            totals=RunTotals(spent=1000),
            runs=[run],
            groups=[GroupFigures(run_id="math", group="trainer-0", waiting=3, leased=1, stuck_s=400.0)],
            known_runs=1,
            **more,
        )
        self._redis.set(keys.STATUS, snapshot.SerializeToString())

    @contextmanager
    def lives(self) -> Iterator[None]:
        """Says so again and again, as one does that works: who is late with a look finds news all the same."""
        ended = threading.Event()

        def speak() -> None:
            while not ended.is_set():
                self.says()
                ended.wait(NEWS_S)

        thread = threading.Thread(target=speak)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()


@pytest.fixture
def service(empty_redis: EmbeddedRedis) -> Iterator[Service]:
    with Redis.from_url(empty_redis.url) as redis:
        yield Service(redis)


def pages(chromium: Browser, redis: EmbeddedRedis, **context: Any) -> Iterator[Watched]:
    source = LiveSource(redis.url)
    try:
        yield from look(chromium, source, **context)
    finally:
        source.close()


def test_news_that_stop_are_stale_and_news_that_come_again_are_live_without_a_reload(
    chromium: Browser, service: Service, empty_redis: EmbeddedRedis
) -> None:
    for watched in pages(chromium, empty_redis):
        badge = watched.page.locator(".topbar .age")
        watched.open("/overview")
        expect(watched.page.get_by_text("No service has said anything here yet.")).to_be_visible()
        with service.lives():
            expect(badge).to_contain_text("live")
            expect(watched.page.get_by_text("a slot")).to_be_visible()
        expect(badge).to_contain_text("stale")
        expect(watched.page.get_by_text("last epoch 4, pid 4711 on here").first).to_be_visible()
        expect(watched.page.locator("main .greyed")).to_be_visible()
        with service.lives():
            expect(badge).to_contain_text("live")
            expect(watched.page.locator("main .greyed")).to_have_count(0)


def test_what_is_wrong_is_said_first_and_leads_to_where_it_is_seen(
    chromium: Browser, service: Service, empty_redis: EmbeddedRedis
) -> None:
    for watched in pages(chromium, empty_redis):
        watched.open("/overview")
        with service.lives():  # of one that is silent nothing else is said
            verdict = watched.page.get_by_label("verdict")
            expect(verdict).to_contain_text("Group trainer-0 of run math has acknowledged no tree")
            verdict.get_by_role("link", name="feed →").click()
            expect(watched.page.get_by_role("heading", name="Feed")).to_be_visible()
            expect(watched.page.locator("main").get_by_text("trainer-0")).to_be_visible()


def test_a_live_run_says_how_many_of_its_trees_have_samples(
    chromium: Browser, service: Service, empty_redis: EmbeddedRedis
) -> None:
    service.says()
    for watched in pages(chromium, empty_redis):
        watched.open("/runs/math")
        ends = watched.page.locator(".panel", has=watched.page.get_by_role("heading", name="How trees ended"))
        expect(ends.get_by_role("row", name="with samples")).to_contain_text("4")
        expect(ends.get_by_role("row", name="failed")).to_contain_text("0")


def test_hostile_words_of_a_service_are_words_on_every_page_at_every_width(
    chromium: Browser, service: Service, empty_redis: EmbeddedRedis
) -> None:
    scorers = [ScorerFigures(scorer=hostile(2), failed=3, error=hostile(0))]
    service.says(reason=hostile(1), scorers=scorers, version=HOSTILE[0])
    for theme in ("light", "dark"):
        for watched in pages(chromium, empty_redis, viewport={"width": 390, "height": 844}, color_scheme=theme):
            for path in PAGES:
                watched.open(path)
                expect(watched.page.locator(".topbar .age:not(.connecting)")).to_be_visible()
                assert watched.page.locator(INJECTED).count() == 0
                assert watched.page.evaluate("document.documentElement.scrollWidth") <= 390, path
