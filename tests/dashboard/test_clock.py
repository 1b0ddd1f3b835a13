"""Times of pages: in UTC, or by the clock of whoever looks."""

from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect
from tests.dashboard.watched import look
from tests.support.rollouts import grown_trees

from treeroll.client.columns import decisions_table
from treeroll.dashboard.sources.results import ResultSource
from treeroll.records.decision import decision
from treeroll.records.events import Event
from treeroll.results.directory import ResultDir
from treeroll.results.parts import PartWriter
from treeroll.results.session import Session

pytestmark = pytest.mark.browser

AT = 1_700_000_000.25  # 2023-11-14 22:13:20 UTC, in Kolkata the next day


def test_times_are_in_utc_or_local_by_a_choice_that_stays(chromium: Browser, tmp_path: Path) -> None:
    event = Event("ended", "run", grown_trees()[0].tree_id, reason="complete", count=8)
    PartWriter(ResultDir(tmp_path), 0).write(
        grown_trees(), Session("run"), decisions_table([decision(AT, 1, event), decision(AT + 60, 1, event)])
    )
    for watched in look(chromium, ResultSource(tmp_path), timezone_id="Asia/Kolkata"):
        page = watched.page
        watched.open("/events")
        oldest = page.locator("[aria-label=decisions] tbody tr").last.locator("td").first
        expect(oldest).to_have_text("2023-11-14 22:13:20.250")
        expect(page.get_by_role("columnheader", name="when, UTC", exact=True)).to_be_visible()
        page.get_by_role("button", name="Local time").click()
        expect(oldest).to_have_text("2023-11-15 03:43:20.250")
        page.reload()
        expect(page.get_by_role("columnheader", name="when, UTC+05:30", exact=True)).to_be_visible()
        page.get_by_label("up to, UTC+05:30").fill("2023-11-15T03:43:40")  # what is typed means the same moment
        expect(page.locator("[aria-label=decisions] tbody tr")).to_have_count(1)
        expect(oldest).to_have_text("2023-11-15 03:43:20.250")
        page.get_by_role("button", name="UTC", exact=True).click()
        expect(page.get_by_label("up to, UTC", exact=True)).to_have_value("2023-11-14T22:13:41")
