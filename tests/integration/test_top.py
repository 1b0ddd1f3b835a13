"""`treeroll top` in a real terminal of 80 columns, by keys, on a service with a real Redis; colours are off."""

import os
import shutil
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.eventually import eventually_sync

from treeroll.client import connect
from treeroll.demo import TASKS_FILE
from treeroll.store.embedded import EmbeddedRedis
from treeroll.store.redis import RedisStore
from treeroll.tasks import read_tasks
from treeroll.testing.service import running_service

WIDTH, HEIGHT = 80, 24
# A terminal on a busy machine.
PATIENT_S = 120.0


class Terminal:
    """A command in tmux."""

    def __init__(self, *command: str) -> None:
        tmux = shutil.which("tmux")
        assert tmux is not None, "there is no tmux: apt-get install tmux"
        self._tmux = [tmux, "-L", f"treeroll-{uuid.uuid4().hex}", "-f", os.devnull]
        self._call("new-session", "-d", "-x", str(WIDTH), "-y", str(HEIGHT), "env", "NO_COLOR=1", *command)
        self._call("set-option", "remain-on-exit", "on")

    def _call(self, *words: str) -> str:
        return subprocess.run([*self._tmux, *words], check=True, capture_output=True, text=True).stdout

    def screen(self) -> list[str]:
        return self._call("capture-pane", "-p").splitlines()

    def press(self, *keys: str) -> None:
        self._call("send-keys", *keys)

    def shows(self, *words: str) -> list[str]:
        """Waits until all of it is there, and returns the screen."""
        found: list[str] = []

        def there() -> bool:
            found[:] = self.screen()
            return all(word in "\n".join(found) for word in words)

        try:
            eventually_sync(there, PATIENT_S, 0.2)
        except AssertionError:
            raise AssertionError(f"{words} never came:\n" + "\n".join(found)) from None
        assert max(map(len, found)) <= WIDTH
        return found

    def close(self) -> None:
        subprocess.run([*self._tmux, "kill-server"], check=False, capture_output=True)


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Of the store of a service that has grown twelve trees."""
    with (
        EmbeddedRedis(tmp_path_factory.mktemp("redis")) as redis,
        running_service(store=RedisStore(redis.url)) as address,
    ):
        with connect(address) as client:
            run = client.create_run("math-7b", recipe="treepo", leaves=8, segment_tokens=32, scorer="arith")
            run.submit(read_tasks(TASKS_FILE, limit=12))
            run.close()
            for batch in run.batches(group="trainer-0"):
                batch.ack()
        yield redis.url


@pytest.fixture
def terminal(url: str) -> Iterator[Terminal]:
    opened = Terminal(sys.executable, "-m", "treeroll.cli.main", "top", "--store", url)
    try:
        opened.shows("r0", "ready")
        yield opened
    finally:
        opened.close()


def rows(screen: list[str], word: str) -> list[str]:
    return [line for line in screen if word in line]


def test_what_is_wrong_and_how_old_the_news_are_stand_above_the_list(terminal: Terminal) -> None:
    screen = terminal.shows("live", "1 replicas", "2 runs", "3 trees", "4 feed", "5 events", "x med")
    assert screen[0].startswith("treeroll ")
    assert screen[0].rstrip().endswith(" s")
    assert screen[1].split(":")[0].strip() in ("all well", "PAGE", "WARN", "ADVICE")


def test_lists_are_chosen_by_number_and_by_tab(terminal: Terminal) -> None:
    terminal.press("2")
    assert len(rows(terminal.shows("math-7b", "12/12"), "closed")) == 1
    terminal.press("Tab")
    assert len(rows(terminal.shows("task", "arith-001"), "complete")) == 12
    terminal.press("4")
    terminal.shows("trainer-0", "acknowledged", "12")
    terminal.press("5")
    terminal.shows("when", "ended_path")


def test_rows_are_sorted_filtered_and_opened_and_esc_leads_back(terminal: Terminal) -> None:
    terminal.press("3")
    terminal.shows("arith-001")
    terminal.press("s", "s")
    screen = terminal.shows("task ^")
    tasks = [line.split()[1] for line in rows(screen, "arith-")]
    assert tasks == sorted(tasks)
    terminal.press("S")
    screen = terminal.shows("task v")
    assert [line.split()[1] for line in rows(screen, "arith-")] == sorted(tasks, reverse=True)
    terminal.press("/")
    terminal.shows("only rows with this text")
    terminal.press(*"arith-007", "Enter")
    eventually_sync(lambda: len(rows(terminal.screen(), "complete  -")) == 1, PATIENT_S, 0.2)
    terminal.press("Enter")
    terminal.shows("trees: ", "task id", "arith-007")
    terminal.press("End")  # below its figures, what was decided of it
    terminal.shows("begins, one of the first branches", "the tree began on r0")
    terminal.press("Escape")
    terminal.shows("1 replicas")
    terminal.press("Escape")
    assert len(rows(terminal.shows("arith-001"), "complete")) == 12


def test_one_pauses_follows_asks_for_the_keys_and_ends(terminal: Terminal) -> None:
    terminal.press("Space")
    terminal.shows("paused")
    terminal.press("Space")
    terminal.shows("live")
    terminal.press("f")
    terminal.shows("follows")
    terminal.press("?")
    terminal.shows("sort by the next column", "pause, and go on")
    terminal.press("Escape")
    terminal.shows("1 replicas")
    terminal.press("q")
    terminal.shows("Pane is dead (status 0")


def test_a_store_that_goes_away_is_said_and_the_last_news_stay(tmp_path: Path) -> None:
    with EmbeddedRedis(tmp_path) as redis:
        with running_service(store=RedisStore(redis.url)):
            terminal = Terminal(sys.executable, "-m", "treeroll.cli.main", "top", "--store", redis.url)
            try:
                terminal.shows("r0", "live")
            except AssertionError:
                terminal.close()
                raise
        try:
            terminal.shows("r0", "stale")
        finally:
            terminal.close()


def test_textual_is_imported_by_who_watches_and_by_nobody_else(empty_redis: EmbeddedRedis) -> None:
    code = (
        "import sys; from treeroll.cli.main import app\n"
        f"app.run(['top', '--once', '--store', {empty_redis.url!r}])\n"
        "print('textual' in sys.modules)"
    )
    said = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert said.stdout.splitlines()[-1] == "False"
