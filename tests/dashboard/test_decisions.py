"""What was decided of trees, as the events page has it: from a store as it is written, and from a rollout's results."""

import json
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, expect
from redis import Redis
from starlette.testclient import TestClient
from tests.dashboard.conftest import asking
from tests.dashboard.test_accessibility import serious
from tests.dashboard.watched import HOSTILE, INJECTED, look
from tests.support.rollouts import grown_trees

from treeroll.client.columns import decisions_table
from treeroll.dashboard.decisions import DecisionQuery
from treeroll.dashboard.sources import decision_file, decision_log
from treeroll.dashboard.sources.base import Source
from treeroll.dashboard.sources.live import LiveSource
from treeroll.dashboard.sources.results import ResultSource
from treeroll.errors import InvalidInput
from treeroll.pb.v1.common_pb2 import Tree
from treeroll.pb.v1.watch_pb2 import PoolFigures, RunTotals, Snapshot
from treeroll.records.decision import decision
from treeroll.records.events import TREE_KINDS, Event, Tick, encode
from treeroll.results.directory import ResultDir
from treeroll.results.parts import PartWriter
from treeroll.results.session import Session
from treeroll.store import keys
from treeroll.store.embedded import EmbeddedRedis

WHY = ("budget.tokens", (("need", 128.0), ("room", 40.0), ("cap", 2500.0)))
BEGAN = 1_700_000_000.0


def one_of_each(run: str, tree: str) -> list[Event]:
    return [
        Event("started", run, tree, replica="gpu-0", count=8),
        Event("forked", run, tree, "0", reason="initial", why=("start", (("branches", 2.0),))),
        Event("granted", run, tree, "0", "gpu-0", 1, seconds=0.25),
        Event("masked", run, tree, "0.0", reason="tokens", why=WHY),
        Event("ended_path", run, tree, "0.0", reason="eos", detail="leaf"),
        Event("ended_path", run, tree, "0.1", reason="policy", detail="pruned"),
        Event("let_end", run, tree, "0.2"),
        Event("lost", run, tree, count=3),
        Event("cut", run, tree, count=4, reason="budget", detail="no room"),
        Event("stopped", run, tree, reason="budget", detail="it is spent", count=2),
        Event("ended", run, tree, reason="partial", count=1),
    ]


@dataclass
class Log:
    """What a service writes of its decisions, a second a tick."""

    redis: Redis
    place: int = 0
    ticks: int = 0

    def decides(self, *events: Event) -> None:
        blob = encode(Tick(BEGAN + self.ticks, 4, list(events)))
        self.place += len(blob)
        self.ticks += 1
        self.redis.xadd(keys.TICKS, {"e": blob, "r": events[0].run}, id=f"{self.place}-0")


@pytest.fixture
def log(empty_redis: EmbeddedRedis) -> Iterator[Log]:
    with Redis.from_url(empty_redis.url) as redis:
        snapshot = Snapshot(at=BEGAN, epoch=4, totals=RunTotals(spent=1), pools=[PoolFigures()])
        redis.set(keys.STATUS, snapshot.SerializeToString())
        yield Log(redis)


@pytest.fixture
def live(log: Log, empty_redis: EmbeddedRedis) -> Iterator[LiveSource]:
    source = LiveSource(empty_redis.url)
    yield source
    source.close()


def results_of(path: Path, events: list[Event], at: float = BEGAN) -> ResultSource:
    """Results with so many decisions, one a second, in two parts."""
    rows = [decision(at + number, 4, event) for number, event in enumerate(events)]
    half = len(rows) // 2
    writer = PartWriter(ResultDir(path), 0)
    writer.write(grown_trees()[:3], Session("run"), decisions_table(rows[:half]))
    writer.write(grown_trees()[3:], Session("run", decisions_missing="7 bytes were gone"), decisions_table(rows[half:]))
    return ResultSource(path)


@pytest.fixture(params=["live", "results"])
def told(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Source]:
    """Ten trees of two runs, each with one of each kind, from both places."""
    events = [event for tree in range(10) for event in one_of_each(f"run-{tree % 2}", f"tree-{tree}")]
    if request.param == "results":
        yield results_of(tmp_path, events)
    else:
        log: Log = request.getfixturevalue("log")
        for event in events:
            log.decides(event)
        yield request.getfixturevalue("live")


def asked(source: Source, **given: str) -> list[dict[str, Any]]:
    """All pages of it, one after the other."""
    items: list[dict[str, Any]] = []
    cursor = ""
    while True:
        page = source.decisions(DecisionQuery.parse({**given, "before": cursor}))
        items += page["items"]
        cursor = page["cursor"]
        if not cursor:
            return items


def test_each_kind_is_a_sentence_that_leads_to_its_tree_or_node(told: Source) -> None:
    page = told.decisions(DecisionQuery(tree="tree-3"))
    assert [one["kind"] for one in reversed(page["items"])] == [event.kind for event in one_of_each("", "")]
    assert {one["kind"] for one in page["items"]} == set(TREE_KINDS)
    by_kind = {one["kind"]: one for one in page["items"]}
    assert by_kind["masked"]["sentence"] == (
        "0.0 may not go on, for want of the run's budget of tokens: "
        "128 tokens may be needed, and the run's budget has 40 of 2500 left"
    )
    assert by_kind["masked"]["why"] == {"rule": WHY[0], "terms": dict(WHY[1])}
    assert by_kind["masked"]["page"] == "trees/tree-3?node=0.0"
    assert by_kind["granted"]["sentence"] == "0 got a slot of gpu-0 after 0.25 s"
    assert by_kind["ended"]["page"] == "trees/tree-3"
    assert all(one["sentence"] for one in page["items"])


def test_pages_go_back_to_the_oldest_and_have_each_once(told: Source) -> None:
    ids = [one["id"] for one in asked(told, limit="7")]
    assert len(ids) == len(set(ids)) == 110
    times = [one["at"] for one in asked(told, limit="7")]
    assert times == sorted(times, reverse=True)
    assert times[0] - times[-1] == 109
    assert told.decisions(DecisionQuery())["oldest_at"] == BEGAN


@pytest.mark.parametrize(
    ("given", "count"),
    [
        ({"run": "run-1"}, 55),
        ({"tree": "tree-4"}, 11),
        ({"run": "run-1", "tree": "tree-4"}, 0),
        ({"kind": "ended_path"}, 20),
        ({"kind": "pruned"}, 10),
        ({"kind": "budget"}, 40),
        ({"kind": "forked,lost"}, 20),
        ({"replica": "gpu-0"}, 20),
        ({"q": "RUN'S BUDGET has 40"}, 10),
        ({"q": "tree-7"}, 11),
        ({"until": str(BEGAN + 10)}, 11),
        ({"since": str(BEGAN + 100)}, 10),
        ({"since": str(BEGAN + 5), "until": str(BEGAN + 6), "kind": "lost"}, 0),
    ],
)
def test_filters_leave_what_they_say(told: Source, given: dict[str, str], count: int) -> None:
    assert len(asked(told, limit="6", **given)) == count


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"kind": "nonsense"}, "there is no kind 'nonsense' of decisions"),
        ({"task": "x"}, "decisions have no filter 'task'"),
        ({"limit": "201"}, "limit must be from 1 to 200"),
        ({"since": "soon"}, "since and until are times"),
    ],
)
def test_what_cannot_be_asked_is_refused_in_a_sentence(given: dict[str, str], sentence: str) -> None:
    with pytest.raises(InvalidInput, match=sentence):
        DecisionQuery.parse(given)


def test_a_cursor_of_elsewhere_is_refused_in_a_sentence(told: Source) -> None:
    with pytest.raises(InvalidInput, match="the cursor is not one of this list"):
        told.decisions(DecisionQuery(before="nothing like it"))


def test_a_long_search_stops_to_say_how_far_it_looked_and_goes_on_when_asked(
    told: Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(decision_log, "LOOKED_AT", 500)
    monkeypatch.setattr(decision_file, "LOOKED_AT", 20)
    monkeypatch.setattr(decision_file, "SLICE", 10)
    first = told.decisions(DecisionQuery(q="tree-0"))
    assert (first["items"], bool(first["cursor"])) == ([], True)
    assert BEGAN < first["back_to"] < BEGAN + 109
    assert len(asked(told, q="tree-0")) == 11


def test_what_is_decided_while_one_looks_comes_first_and_nothing_twice(log: Log, live: LiveSource) -> None:
    for number in range(5):
        log.decides(*one_of_each("run", f"tree-{number}"))
    query = DecisionQuery(kinds=frozenset({"ended"}), limit=3)
    assert [one["tree"] for one in live.decisions(query)["items"]] == ["tree-4", "tree-3", "tree-2"]
    log.decides(*one_of_each("run", "new"))
    page = live.decisions(query)
    assert [one["tree"] for one in page["items"]] == ["new", "tree-4", "tree-3"]
    rest = live.decisions(DecisionQuery(kinds=frozenset({"ended"}), limit=10, before=page["cursor"]))
    assert [one["tree"] for one in rest["items"]] == ["tree-2", "tree-1", "tree-0"]


def test_what_went_with_a_deleted_run_is_a_row_that_says_so(log: Log, live: LiveSource) -> None:
    for run in ("a", "gone", "b"):
        log.decides(*one_of_each(run, run))
    middle = log.redis.xrange(keys.TICKS)[1][0]
    log.redis.xdel(keys.TICKS, middle)
    kinds = Counter(one["kind"] for one in asked(live))
    assert kinds["gap"] == 1
    assert sum(kinds.values()) == 1 + 2 * len(one_of_each("", ""))
    [gap] = [one for one in asked(live) if one["kind"] == "gap"]
    assert "bytes of decisions are gone: with a run that was deleted" in gap["sentence"]


def test_of_a_tree_only_its_time_is_looked_at(log: Log, live: LiveSource, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(300):
        log.decides(*one_of_each("run", f"tree-{number}"))
    header = Tree(tree_id="tree-20", started_at=BEGAN + 20, ended_at=BEGAN + 20)
    log.redis.hset(keys.tree("tree-20"), keys.HEADER, header.SerializeToString())
    monkeypatch.setattr(decision_log, "LOOKED_AT", 30_000)  # of which all have more than 100,000
    found = live.decisions(DecisionQuery(tree="tree-20"))
    assert (len(found["items"]), found["back_to"]) == (11, None)


def test_a_store_without_decisions_has_none(live: LiveSource) -> None:
    assert live.decisions(DecisionQuery()) == {
        "items": [],
        "cursor": "",
        "back_to": None,
        "oldest_at": None,
        "missing": [],
    }


def test_results_say_what_is_missing_and_results_without_any_say_why(tmp_path: Path, client: TestClient) -> None:
    found = results_of(tmp_path, one_of_each("run", "tree"))
    assert found.decisions(DecisionQuery())["missing"] == ["7 bytes were gone"]
    assert "events" in found.about()["pages"]
    refused = client.get("/api/1/decisions")
    assert (refused.status_code, "has no events.parquet" in refused.json()["error"]) == (400, True)
    assert "events" not in client.get("/api/1/about").json()["pages"]


def test_the_api_answers_a_page(live: LiveSource, log: Log) -> None:
    log.decides(*one_of_each("run", "tree"))
    for client in asking(live):
        answer = client.get("/api/1/decisions?kind=masked&limit=1").json()
        assert [one["path"] for one in answer["items"]] == ["0.0"]
        assert json.dumps(answer)  # all of it is JSON
        assert client.get("/api/1/decisions?kind=nonsense").status_code == 400


@pytest.mark.browser
@pytest.mark.parametrize("width", [1280, 390])
def test_decisions_are_filtered_paged_and_followed(chromium: Browser, live: LiveSource, log: Log, width: int) -> None:
    for number in range(30):
        log.decides(*one_of_each(f"run-{number % 2}", f"tree-{number}"))
    for watched in look(chromium, live, viewport={"width": width, "height": 800}):
        page = watched.page
        watched.open("/events")
        page.get_by_role("link", name="Decisions", exact=True).click()
        rows = page.get_by_role("region", name="decisions").locator("tbody tr")
        expect(rows).to_have_count(100)
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        page.get_by_role("link", name="Older").click()
        expect(page.get_by_role("link", name="Newest")).to_be_visible()
        expect(page).to_have_url(re.compile("before="))
        page.get_by_role("link", name="Budget", exact=True).click()
        page.get_by_label("tree", exact=True).fill("tree-7")
        expect(rows).to_have_count(4)
        expect(rows.filter(has_text="may not go on")).to_contain_text("the run's budget has 40 of 2500 left")
        log.decides(Event("masked", "run-1", "tree-7", "0.5", reason="tokens", why=WHY))
        expect(rows).to_have_count(5)  # without a click
        page.get_by_label("text", exact=True).fill("no such words")
        expect(page.get_by_text("No decision matches.")).to_be_visible()
        assert serious(page) == []


@pytest.mark.browser
def test_from_a_trees_page_one_click_leads_to_its_decisions(chromium: Browser, tmp_path: Path) -> None:
    tree = grown_trees()[0]
    events = [event for name in (tree.tree_id, "another") for event in one_of_each("run", name)]
    for watched in look(chromium, results_of(tmp_path, events)):
        watched.open(f"/trees/{tree.tree_id}")
        watched.page.get_by_role("link", name="decisions").click()
        expect(watched.page.locator("main h1")).to_have_text("Events")
        rows = watched.page.locator("tbody tr")
        expect(rows).to_have_count(len(events) // 2)
        expect(watched.page.get_by_text("7 bytes were gone")).to_be_visible()
        rows.filter(has_text="may not go on").get_by_role("link").click()
        expect(watched.page.locator(".lanes-canvas[data-drawn]")).to_be_visible()
        expect(watched.page).to_have_url(re.compile(r"node=0\.0"))
        assert serious(watched.page) == []


@pytest.mark.browser
def test_a_click_in_a_chart_shows_what_happened_and_what_was_decided_by_then(
    chromium: Browser, live: LiveSource, log: Log
) -> None:
    for _ in range(60):
        log.decides(*one_of_each("run", "tree"))
    for watched in look(chromium, live):
        watched.open(f"/events?until={int(BEGAN) + 30}")
        decided = watched.page.get_by_role("region", name="decisions").locator("tbody tr")
        expect(decided).to_have_count(15)
        expect(decided.first).to_contain_text("22:13:50")  # the 31st second, not the last one
        watched.page.get_by_role("link", name="All of them, with filters").last.click()
        expect(decided).to_have_count(100)
        expect(watched.page).to_have_url(re.compile(f"until={int(BEGAN) + 30}"))
        assert serious(watched.page) == []


@pytest.mark.browser
def test_what_others_wrote_is_text_here_too(chromium: Browser, live: LiveSource, log: Log) -> None:
    log.decides(*(Event("cut", "run", text, text, text, reason=text, detail=text) for text in HOSTILE))
    log.decides(
        *(Event("masked", text, "tree", text, text, reason=text, why=(text, ((text, 1.0),))) for text in HOSTILE)
    )
    for watched in look(chromium, live):
        watched.open("/events?log=decisions&limit=200")
        expect(watched.page.locator("tbody tr")).to_have_count(100)
        assert watched.page.locator(INJECTED).count() == 0
