"""The dashboard that runs beside `treeroll serve`, and pages on a service that is killed and started again."""

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import pytest
from playwright.sync_api import Browser, expect
from tests.dashboard.watched import look
from tests.support.command import Command
from tests.support.processes import alive, descendants

from treeroll.config import DashboardConfig
from treeroll.dashboard.sources.live import LiveSource
from treeroll.store.embedded import EmbeddedRedis

WORD = "dashboard --lifeline"

# When the badge changed, by the page's own clock, milliseconds.
NOTE_CHANGES = """() => {
  window.changes = [];
  let before = "";
  const look = () => {
    const now = document.querySelector(".topbar .age")?.className ?? "";
    if (now !== before) { window.changes.push([now, performance.now()]); before = now; }
  };
  look();
  new MutationObserver(look).observe(document.body, { subtree: true, childList: true, attributes: true });
}"""


def served(store: str, log: Path, *more: str) -> Command:
    return Command(["serve", "--engine", "none", "--port", "0", "--store", store, *more], log)


def addresses(command: Command) -> list[str]:
    """Of its dashboards, one after the other."""
    return [line.split()[1] for line in command.output().splitlines() if line.startswith("dashboard: ")]


def said(address: str) -> dict[str, Any]:
    """The first state that a dashboard tells."""
    base, _, token = address.partition("/#token=")
    with urlopen(Request(f"{base}/api/1/live", headers={"authorization": f"Bearer {token}"})) as stream:  # noqa: S310
        return dict(json.loads(next(line for line in stream if line.startswith(b"data: "))[6:]))


def child(command: Command) -> int:
    [pid] = [pid for pid, line in descendants(command.process.pid).items() if WORD in line]
    return pid


@pytest.fixture
def beside(empty_redis: EmbeddedRedis, tmp_path: Path) -> Iterator[Command]:
    """A service with its dashboard."""
    with served(empty_redis.url, tmp_path / "serve.log", "--set", "dashboard.port=0") as command:
        command.until(lambda: addresses(command))
        yield command


def test_it_shows_the_service_is_started_again_when_it_dies_and_ends_with_it(beside: Command) -> None:
    beside.until(lambda: said(addresses(beside)[0])["phase"] == "live")
    assert said(addresses(beside)[0])["snapshot"]["pid"] == beside.process.pid  # another process than its own
    os.kill(child(beside), signal.SIGKILL)
    beside.until(lambda: len(addresses(beside)) == 2)
    assert "the dashboard died; another is started" in beside.output()
    beside.until(lambda: said(addresses(beside)[1])["phase"] == "live")
    family = {child(beside)}
    beside.process.kill()
    beside.assert_gone()
    assert alive(family) == {}


@pytest.mark.timing
@pytest.mark.browser
def test_a_service_that_is_killed_is_stale_within_5_s_and_live_again_without_a_reload(
    chromium: Browser, empty_redis: EmbeddedRedis, tmp_path: Path
) -> None:
    source = LiveSource(empty_redis.url)
    try:
        for watched in look(chromium, source):
            watched.open("/overview")
            badge = watched.page.locator(".topbar .age")
            with served(empty_redis.url, tmp_path / "first.log", "--set", "dashboard.port=off") as first:
                first.until(lambda: "treeroll serves at" in first.output())
                expect(badge).to_contain_text("live")
                assert WORD not in str(descendants(first.process.pid))
                watched.page.evaluate(NOTE_CHANGES)
                killed = watched.page.evaluate("performance.now()")
                first.process.kill()
                expect(badge).to_contain_text("stale")
                expect(watched.page.locator("main .greyed")).to_be_visible()
                changed = dict(watched.page.evaluate("window.changes"))
                assert changed["age stale"] - killed <= 5000
            with served(empty_redis.url, tmp_path / "second.log", "--set", "dashboard.port=off") as second:
                second.until(lambda: "treeroll serves at" in second.output())
                expect(badge).to_contain_text("live")
                expect(watched.page.locator("main .greyed")).to_have_count(0)
    finally:
        source.close()


def test_off_is_what_yaml_makes_of_it() -> None:
    assert DashboardConfig(port=False).port == "off"  # type: ignore[arg-type]
    assert DashboardConfig.model_validate({"port": "off"}).port == "off"
    assert DashboardConfig().port is None
