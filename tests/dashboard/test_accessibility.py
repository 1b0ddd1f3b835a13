"""Pages for everybody: no serious finding of axe on any page in any state and theme; what people do, by keys alone."""

from contextlib import nullcontext
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect
from tests.dashboard.test_live_pages import PAGES, Service, pages, service  # noqa: F401 - a fixture
from tests.dashboard.watched import look
from tests.support.rollouts import grown_trees

from treeroll.dashboard.sources.live import LiveSource
from treeroll.dashboard.sources.results import ResultSource
from treeroll.store.embedded import EmbeddedRedis

pytestmark = pytest.mark.browser

AXE = (Path(__file__).parent / "vendor" / "axe.min.js").read_text()
FIND = """async () => (await axe.run(document, { resultTypes: ["violations"] })).violations
  .filter((one) => one.impact === "serious" || one.impact === "critical")
  .map((one) => `${one.id}: ${one.help}: ${one.nodes.map((node) => node.target.join(" ")).join(", ")}`)"""
# More than any of our pages has to press until something is reached.
MOST_TABS = 60


def serious(page: Page) -> list[str]:
    """What axe finds that keeps people out, in both themes."""
    page.evaluate(AXE)
    found: list[str] = []
    for _ in ("light", "dark"):
        theme = page.evaluate("document.documentElement.dataset.theme")
        found += [f"{theme}: {one}" for one in page.evaluate(FIND)]
        page.get_by_role("button", name="Light" if theme == "dark" else "Dark").click()
    return found


def test_pages_of_results_keep_nobody_out(chromium: Browser, source: ResultSource) -> None:
    tree = next(tree for tree in grown_trees() if len({sample.reward for sample in tree.samples}) > 1).tree_id
    states = {
        "/runs": "main tbody tr",
        "/runs/run": ".run-map[data-cells]",
        "/trees": "main tbody tr",
        "/trees?q=nothing": ".empty",
        f"/trees/{tree}?node=0&compare=1": ".compare .versus",
        f"/trees/{tree}?view=map&node=0": ".tree-map[data-cells]",
        "/trees/none": ".trouble",
        "/feed": ".empty",
        "/about": ".facts",
    }
    for watched in look(chromium, source):
        for path, there in states.items():
            watched.open(path)
            expect(watched.page.locator(there).first).to_be_visible()
            assert (path, serious(watched.page)) == (path, [])
            watched.wrong = [one for one in watched.wrong if "404" not in one]  # what was asked for is not there
        watched.page.keyboard.press("?")
        expect(watched.page.get_by_role("dialog")).to_be_visible()
        assert serious_here(watched.page) == []


def serious_here(page: Page) -> list[str]:
    """The same, as the page is now: a dialog covers what changes the theme."""
    page.evaluate(AXE)
    return list(page.evaluate(FIND))


def test_pages_of_a_service_keep_nobody_out_alive_and_dead(
    chromium: Browser,
    service: Service,  # noqa: F811 - the fixture
    empty_redis: EmbeddedRedis,
) -> None:
    for watched in pages(chromium, empty_redis):
        for state in ("empty", "live", "stale"):
            with service.lives() if state == "live" else nullcontext():
                for path in PAGES if state == "live" else ("/overview", "/replicas"):
                    watched.open(path)
                    expect(watched.page.locator(f".topbar .age.{state}")).to_be_visible()
                    assert (state, path, serious(watched.page)) == (state, path, [])


def test_a_page_on_a_store_that_is_away_keeps_nobody_out(chromium: Browser, tmp_path: Path) -> None:
    source = LiveSource(f"unix://{tmp_path}/none.sock")
    try:
        for watched in look(chromium, source):
            watched.open("/overview")
            expect(watched.page.locator(".topbar .age.away")).to_be_visible()
            assert serious(watched.page) == []
    finally:
        source.close()


def tab_to(page: Page, words: str) -> None:
    """Press Tab until what has the focus says so."""
    for _ in range(MOST_TABS):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement?.textContent.trim()") == words:
            return
    raise AssertionError(f"Tab never came to {words!r}")


def test_the_largest_waste_is_found_by_keys_alone(chromium: Browser, source: ResultSource) -> None:
    for watched in look(chromium, source):
        watched.open("/runs")
        expect(watched.page.locator("main tbody tr")).to_have_count(1)
        tab_to(watched.page, "Trees")
        watched.page.keyboard.press("Enter")
        expect(watched.page.locator("main tbody tr")).to_have_count(len(grown_trees()))
        tab_to(watched.page, "Largest waste")
        watched.page.keyboard.press("Enter")
        expect(watched.page.locator(".tab.on")).to_have_text("Largest waste")
        expect(watched.page.locator("main .panel.busy")).to_have_count(0)  # or the rows come behind the key
        watched.page.keyboard.press("j")
        expect(watched.page.locator("tr.selected a").first).to_be_focused()
        watched.page.keyboard.press("Enter")
        expect(watched.page.locator(".lanes-canvas[data-drawn]")).to_be_visible()
        tab_to(watched.page, "best vs worst")
        watched.page.keyboard.press("Enter")
        expect(watched.page.get_by_role("heading", name="Best: ")).to_be_visible()
