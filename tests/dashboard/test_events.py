"""The events page: what happened to the fleet and the runs, newest first, each with where to look next."""

import re
import time
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, expect
from redis import Redis
from starlette.testclient import TestClient
from tests.dashboard.conftest import asking
from tests.dashboard.watched import HOSTILE, INJECTED, look
from tests.support.eventually import eventually_sync

from treeroll.dashboard.happenings import KEPT, HappeningQuery, Happenings
from treeroll.dashboard.sources.live import LiveSource
from treeroll.errors import InvalidInput
from treeroll.pb.v1.watch_pb2 import PoolFigures, RunTotals, Snapshot
from treeroll.records.events import FLEET_KINDS, Event, Tick, encode
from treeroll.store import keys
from treeroll.store.embedded import EmbeddedRedis

ONE_OF_EACH = [
    Event(kind, run="math", replica="gpu-1", count=3, reason="full", detail="why", seconds=2.5) for kind in FLEET_KINDS
]


def log(*ticks: list[Event], at: float = 1000.0, behind: int = 0) -> list[tuple[int, bytes]]:
    entries = []
    for number, events in enumerate(ticks):
        blob = encode(Tick(at + number, 4, events))
        behind += len(blob)
        entries.append((behind, blob))
    return entries


def taken(*ticks: list[Event]) -> Happenings:
    happenings = Happenings()
    happenings.take(log(*ticks))
    return happenings


def kinds(page: dict[str, Any]) -> list[str]:
    return [row["kind"] for row in page["items"]]


def test_every_kind_is_said_in_a_sentence_and_leads_to_a_page_that_there_is() -> None:
    page = taken(ONE_OF_EACH).page(HappeningQuery())
    assert kinds(page) == list(reversed(FLEET_KINDS))
    pages = {row["page"].partition("?")[0].partition("/")[0] for row in page["items"]}
    assert pages <= {"overview", "replicas", "runs", "store"}
    assert all(len(row["sentence"]) > 15 and not row["sentence"].startswith(row["kind"]) for row in page["items"])
    assert page["kinds"] == dict.fromkeys(sorted(FLEET_KINDS), 1)


def test_they_come_newest_first_by_kind_run_replica_and_time_and_page_by_page() -> None:
    happenings = taken(
        [Event("run_created", run="a")],
        [Event("run_created", run="b"), Event("replica_lost", replica="r0", reason="it died")],
        [Event("run_closed", run="a")],
    )
    assert kinds(happenings.page(HappeningQuery(run="a"))) == ["run_closed", "run_created"]
    assert kinds(happenings.page(HappeningQuery(replica="r0"))) == ["replica_lost"]
    assert kinds(happenings.page(HappeningQuery(until=1001.0)))[0] == "replica_lost"
    assert kinds(happenings.page(HappeningQuery.parse({"kind": "incidents"}))) == ["replica_lost"]
    first = happenings.page(HappeningQuery(limit=3))
    rest = happenings.page(HappeningQuery(limit=3, before=first["cursor"]))
    assert [*kinds(first), *kinds(rest)] == ["run_closed", "replica_lost", "run_created", "run_created"]
    assert (first["matching"], rest["cursor"]) == (4, None)


def test_what_is_missing_is_a_row_that_says_so_and_nothing_is_made_up() -> None:
    entries = log([Event("drained")], [Event("run_created", run="a")], [Event("undrained")])
    happenings = Happenings()
    happenings.take([entries[0]])
    happenings.take([entries[2]])
    assert kinds(happenings.page(HappeningQuery())) == ["undrained", "gap", "drained"]
    [gap] = happenings.page(HappeningQuery(kinds=frozenset({"gap"})))["items"]
    assert "bytes of events are gone" in gap["sentence"]
    happenings.began_anew()
    happenings.take(log([Event("took_over", count=5)]))
    assert kinds(happenings.page(HappeningQuery()))[:2] == ["took_over", "gap"]


def test_what_was_trimmed_before_the_first_look_is_no_gap() -> None:
    happenings = Happenings()
    happenings.take(log([Event("drained")], behind=500_000))
    assert kinds(happenings.page(HappeningQuery())) == ["drained"]


def test_so_many_are_kept() -> None:
    happenings = taken([Event("drained")] * (KEPT + 10))
    assert happenings.page(HappeningQuery())["total"] == KEPT


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"kind": "nonsense"}, "there is no kind 'nonsense'"),
        ({"tree": "x"}, "events have no filter 'tree'"),
        ({"limit": "0"}, "limit must be from 1 to 200"),
        ({"until": "soon"}, "until is a time"),
    ],
)
def test_what_cannot_be_asked_is_refused_in_a_sentence(given: dict[str, str], sentence: str) -> None:
    with pytest.raises(InvalidInput, match=sentence):
        HappeningQuery.parse(given)


class Told:
    """A store that a service has told things."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._place = 0

    def happens(self, *events: Event) -> None:
        blob = encode(Tick(time.time(), 4, list(events)))
        self._place += len(blob)
        self._redis.xadd(keys.HAPPENINGS, {"e": blob}, id=f"{self._place}-0")

    def says(self) -> None:
        """How it is, with a minute of points."""
        now = time.time()
        for second in range(60):
            point = Snapshot(at=now - 60 + second, epoch=4, totals=RunTotals(spent=100 * second), pools=[PoolFigures()])
            self._redis.xadd(keys.POINTS, {"p": point.SerializeToString()}, id=f"{int(1000 * point.at)}-0")
        last = Snapshot(at=now, epoch=4, since=now - 60, pid=1, host="here", totals=RunTotals(spent=6000))
        last.pools.append(PoolFigures())
        self._redis.set(keys.STATUS, last.SerializeToString())

    def forgets(self) -> None:
        self._redis.delete(keys.HAPPENINGS)
        self._place = 0


@pytest.fixture
def told(empty_redis: EmbeddedRedis) -> Iterator[Told]:
    with Redis.from_url(empty_redis.url) as redis:
        yield Told(redis)


@pytest.fixture
def live(told: Told, empty_redis: EmbeddedRedis) -> Iterator[LiveSource]:
    told.says()
    told.happens(*ONE_OF_EACH)
    source = LiveSource(empty_redis.url)
    yield source
    source.close()


def test_a_store_is_followed_and_one_that_went_back_is_read_anew(live: LiveSource, told: Told) -> None:
    assert kinds(live.events(HappeningQuery())) == list(reversed(FLEET_KINDS))
    told.happens(Event("run_created", run="later"))
    eventually_sync(lambda: kinds(live.events(HappeningQuery()))[0] == "run_created")
    told.forgets()
    told.happens(Event("took_over", count=5))
    eventually_sync(lambda: kinds(live.events(HappeningQuery()))[:2] == ["took_over", "gap"])
    assert {one["kind"] for one in live.history()["events"]} >= {"broken", "replica_lost"}


def test_the_api_answers_a_page_and_refuses_in_a_sentence(live: LiveSource) -> None:
    for client in asking(live):
        answer = client.get("/api/1/events?kind=replica_lost").json()
        assert [one["page"] for one in answer["items"]] == ["replicas?replica=gpu-1"]
        refused = client.get("/api/1/events?kind=nonsense")
        assert (refused.status_code, "there is no kind" in refused.json()["error"]) == (400, True)


def test_prometheus_scrapes_the_service_and_its_store_with_a_token(live: LiveSource) -> None:
    for client in asking(live):
        answer = client.get("/api/1/metrics")
        assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
        assert "treeroll_generated_tokens_total 6000" in answer.text
        assert "treeroll_store_up 1" in answer.text
        assert client.get("/api/1/metrics", headers={"authorization": ""}).status_code == 401
        assert client.get("/api/1/targets").json() == []


def test_results_say_that_they_have_no_events(client: TestClient) -> None:
    assert client.get("/api/1/events").status_code == 400
    assert client.get("/api/1/metrics").status_code == 400
    assert client.get("/api/1/targets").status_code == 400


@pytest.mark.browser
def test_from_a_dip_in_a_chart_one_click_leads_to_what_happened_then(chromium: Browser, live: LiveSource) -> None:
    for watched in look(chromium, live):
        watched.open("/overview")
        watched.page.locator(".marks a").first.wait_for()
        watched.page.locator(".chart .u-over").first.click()
        expect(watched.page.locator("main h1")).to_have_text("Events")
        expect(watched.page).to_have_url(re.compile("until="))


@pytest.mark.browser
@pytest.mark.parametrize("width", [1280, 390])
def test_an_event_leads_where_an_operator_would_look_next(chromium: Browser, live: LiveSource, width: int) -> None:
    for watched in look(chromium, live, viewport={"width": width, "height": 800}):
        watched.open("/events?kind=run_stopped")
        page = watched.page
        expect(page.locator("tbody tr")).to_have_count(1)
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        page.get_by_label("kind").select_option("replica_lost")
        expect(page.locator("tbody tr")).to_have_count(1)
        expect(page.locator("tbody .what")).to_contain_text("Replica gpu-1 was lost: full")
        page.locator("tbody a").first.click()
        expect(page.locator("main h1")).to_have_text("Replicas")


@pytest.mark.browser
def test_what_others_wrote_is_text_here_too(chromium: Browser, live: LiveSource, told: Told) -> None:
    told.happens(*(Event("replica_lost", replica=text, run=text, reason=text) for text in HOSTILE))
    for watched in look(chromium, live):
        watched.open("/events?kind=replica_lost")
        expect(watched.page.locator("tbody tr")).to_have_count(1 + len(HOSTILE))
        assert watched.page.locator(INJECTED).count() == 0
