"""Scenarios are what they say, and operators find what is wrong in few clicks. All are played at the same time."""

import re
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any

import pytest
from playwright.sync_api import Browser, Locator, expect
from tests.dashboard.watched import Watched, look
from tests.support.eventually import eventually_sync

from treeroll.dashboard.query import TreeQuery
from treeroll.dashboard.sources.live import LiveSource
from treeroll.errors import InvalidInput
from treeroll.scenarios.plays import SCENARIOS, Scenario
from treeroll.scenarios.running import named, running_scenario

PLAYED_S = 300.0


@pytest.fixture(scope="module")
def scenes() -> Iterator[dict[str, LiveSource]]:
    """A dashboard's source for each scenario."""
    with ExitStack() as stack, ThreadPoolExecutor(len(SCENARIOS)) as pool:

        def begin(scenario: Scenario) -> str:
            return stack.enter_context(running_scenario(scenario))

        urls = dict(zip(SCENARIOS, pool.map(begin, SCENARIOS.values()), strict=True))
        sources = {name: LiveSource(url) for name, url in urls.items()}
        for source in sources.values():
            stack.callback(source.close)
        yield sources


def now(source: LiveSource) -> dict[str, Any]:
    return source.live()[1]


def replica(source: LiveSource, name: str) -> dict[str, Any]:
    table = (now(source)["snapshot"] or {}).get("replicas") or {"names": [], "rows": []}
    rows = [dict(zip(table["names"], row, strict=True)) for row in table["rows"]]
    return next((row for row in rows if row["replica_id"] == name), {})


def groups(source: LiveSource) -> list[dict[str, Any]]:
    return list((now(source)["snapshot"] or {}).get("groups", []))


def rules(source: LiveSource) -> list[str]:
    return [one["rule"] for one in now(source)["verdict"]]


SEEN: dict[str, Callable[[LiveSource], object]] = {
    "steady": lambda source: now(source)["phase"] == "live" and sum(one["acknowledged"] for one in groups(source)) > 8,
    "lagging-replica": lambda source: "ReplicaSlow" in rules(source),
    "crash-loop": lambda source: replica(source, "gpu-2").get("losses", 0) >= 2,
    "redis-down": lambda source: now(source)["phase"] == "store away",
    "budget-end": lambda source: source.trees(TreeQuery(stop="budget"))["matching"],
    "feed-blocked": lambda source: (
        [one["leased"] for one in groups(source)] == [4] and groups(source)[0]["stuck_s"] > 5
    ),
    "stale-weights": lambda source: source.trees(TreeQuery(stop="stale"))["matching"],
}


@pytest.mark.parametrize("name", SCENARIOS)
def test_a_scenario_is_what_it_says(scenes: dict[str, LiveSource], name: str) -> None:
    eventually_sync(lambda: SEEN[name](scenes[name]), PLAYED_S, 0.2)


def test_after_an_outage_of_its_store_a_service_goes_on(scenes: dict[str, LiveSource]) -> None:
    source = scenes["redis-down"]
    eventually_sync(lambda: now(source)["phase"] == "store away", PLAYED_S, 0.2)
    eventually_sync(
        lambda: now(source)["phase"] == "live" and replica(source, "gpu-0").get("state") == "ready", PLAYED_S, 0.2
    )


def test_a_service_to_which_nothing_happens_is_well(scenes: dict[str, LiveSource]) -> None:
    slow_machine = {"CreditStops"}  # answers come late where all scenarios and other tests share two processors
    source = scenes["steady"]
    eventually_sync(
        lambda: now(source)["phase"] == "live" and set(rules(source)) <= {"IdleSlots"} | slow_machine, PLAYED_S, 0.2
    )


def test_what_is_no_scenario_is_told_with_those_that_are() -> None:
    with pytest.raises(InvalidInput, match=r"no scenario 'fire'; there are steady \(nothing is wrong\); lagging-"):
        named("fire")


class Operator:
    """Somebody who begins at the Overview, and whose clicks are counted."""

    def __init__(self, watched: Watched) -> None:
        self.page = watched.page
        self.clicks = 0
        watched.open("/overview")

    def click(self, place: Locator) -> None:
        self.clicks += 1
        place.click()

    def nav(self, name: str) -> None:
        self.click(self.page.get_by_role("navigation").get_by_role("link", name=name, exact=True))


@pytest.fixture
def operator(chromium: Browser, scenes: dict[str, LiveSource], request: pytest.FixtureRequest) -> Iterator[Operator]:
    """At a scenario that shows by now what it is about."""
    source = scenes[request.param]
    eventually_sync(lambda: SEEN[request.param](source), PLAYED_S, 0.2)
    for watched in look(chromium, source):
        yield Operator(watched)


@pytest.mark.browser
@pytest.mark.parametrize("operator", ["stale-weights"], indirect=True)
def test_the_largest_waste_and_its_cause_are_two_clicks_away(operator: Operator, scenes: dict[str, LiveSource]) -> None:
    operator.nav("Trees")
    operator.click(operator.page.get_by_role("link", name="Largest waste"))
    expect(operator.page.locator(".tab.on")).to_have_text("Largest waste")
    expect(operator.page.locator("td.waste").first).to_contain_text("cut")
    told = [re.sub(r"\D", "", text) for text in operator.page.locator("td.waste").all_inner_texts()]
    wasted = [int(number) for number in told if number]
    assert wasted == sorted(wasted, reverse=True)
    assert wasted[0] > 0
    assert operator.clicks <= 2


@pytest.mark.browser
@pytest.mark.parametrize("operator", ["budget-end"], indirect=True)
def test_why_a_tree_stopped_is_two_clicks_away(operator: Operator) -> None:
    operator.nav("Trees")
    operator.click(operator.page.get_by_role("row").filter(has_text="budget").first)
    expect(operator.page.locator(".page-head")).to_contain_text("cut by budget")
    expect(operator.page.locator("main .notice").first).to_contain_text("budget")
    assert operator.clicks <= 2


@pytest.mark.browser
@pytest.mark.parametrize("operator", ["lagging-replica"], indirect=True)
def test_a_replica_that_lags_is_two_clicks_away(operator: Operator) -> None:
    operator.click(operator.page.get_by_label("verdict").get_by_role("link", name="replicas →").first)
    row = operator.page.locator("tr.selected")
    expect(row).to_contain_text("gpu-3")
    expect(row.locator(".warn-text").first).to_contain_text("0.")
    assert operator.clicks <= 2


@pytest.mark.browser
@pytest.mark.parametrize("operator", ["feed-blocked"], indirect=True)
def test_what_an_unacknowledged_tree_waits_for_is_two_clicks_away(operator: Operator) -> None:
    operator.click(operator.page.locator("main").get_by_role("link", name="trainer-0"))
    table = operator.page.get_by_role("region", name="unacknowledged trees")
    expect(table.locator("tbody tr").first).to_contain_text("to acknowledge it")
    expect(table.locator("tbody tr").nth(4)).to_contain_text("for the group to ask for it")
    assert operator.clicks <= 2


@pytest.mark.browser
@pytest.mark.parametrize("operator", ["budget-end"], indirect=True)
def test_what_branches_wait_for_is_seen_without_a_click(operator: Operator) -> None:
    waits = operator.page.locator("section", has=operator.page.get_by_role("heading", name="What branches wait for"))
    expect(waits.get_by_role("row").filter(has_text="rate")).to_be_visible()
    assert operator.clicks == 0


@pytest.mark.browser
@pytest.mark.parametrize("operator", ["budget-end"], indirect=True)
def test_who_got_the_budget_and_why_is_three_clicks_away(operator: Operator) -> None:
    operator.nav("Runs")
    operator.click(operator.page.get_by_role("link", name="small-budget"))
    operator.click(operator.page.get_by_role("link", name="Who got the budget, and why"))
    rows = operator.page.get_by_role("region", name="decisions").locator("tbody tr")
    expect(rows.filter(has_text="The tree began on gpu-").first).to_be_visible()
    expect(rows.filter(has_text="may not go on").first).to_contain_text(
        re.compile(r"\d+ tokens may be needed, and the run's budget has \d+ of 2500 left")
    )
    assert operator.clicks <= 3


@pytest.mark.browser
@pytest.mark.parametrize("operator", ["crash-loop"], indirect=True)
def test_what_happened_at_a_dip_is_one_click_away(operator: Operator) -> None:
    operator.page.locator(".marks a").first.wait_for()
    chart = operator.page.locator(".chart .u-over").first
    box = chart.bounding_box()
    assert box is not None
    operator.clicks += 1
    chart.click(position={"x": box["width"] - 5, "y": box["height"] / 2})
    happened = operator.page.get_by_role("region", name="events").locator("tbody tr")
    expect(happened.filter(has_text="Replica gpu-2 was lost").first).to_be_visible()
    expect(operator.page.get_by_role("region", name="decisions").locator("tbody tr")).to_have_count(15)
    assert operator.clicks <= 1
