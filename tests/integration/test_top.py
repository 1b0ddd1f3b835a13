"""`treeroll top` in a real terminal of 80 columns, by keys, on a service with a real Redis; colours are off."""

import os
import shutil
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
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
# Says how a command has ended, and stays: tmux itself may miss the end of a process and say nothing (3.3a does).
TOLD_AT_ITS_END = '"$@"; echo "ended with $?"; read -r _'


class Terminal:
    """A command in tmux."""

    def __init__(self, *command: str) -> None:
        tmux = shutil.which("tmux")
        assert tmux is not None, "there is no tmux: apt-get install tmux"
        self._tmux = [tmux, "-L", f"treeroll-{uuid.uuid4().hex}", "-f", os.devnull]
        told = ["sh", "-c", TOLD_AT_ITS_END, "sh", "env", "NO_COLOR=1", *command]
        self._call("new-session", "-d", "-x", str(WIDTH), "-y", str(HEIGHT), *told)

    def _call(self, *words: str) -> str:
        return subprocess.run([*self._tmux, *words], check=True, capture_output=True, text=True).stdout

    def screen(self) -> list[str]:
        return self._call("capture-pane", "-p").splitlines()

    def press(self, *keys: str) -> None:
        self._call("send-keys", *keys)

    def shows(self, *words: str, where: Callable[[list[str]], bool] = lambda screen: True) -> list[str]:
        """Waits until all of it is there and `where` is true of the screen, which may be half drawn; returns it."""
        found: list[str] = []

        def there() -> bool:
            found[:] = self.screen()
            return all(word in "\n".join(found) for word in words) and where(found)

        try:
            eventually_sync(there, interval_s=0.2)
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


def has_rows(count: int, word: str) -> Callable[[list[str]], bool]:
    """So many lines of a screen have this word."""
    return lambda screen: sum(word in line for line in screen) == count


def tasks_of(screen: list[str]) -> list[str]:
    """Ids of the tasks that a screen lists, in their order."""
    return [line.split()[1] for line in screen if "arith-" in line]


def test_what_is_wrong_and_how_old_the_news_are_stand_above_the_list(terminal: Terminal) -> None:
    tabs = ("live", "1 replicas", "2 runs", "3 trees", "4 feed", "5 events", "x med")
    screen = terminal.shows(*tabs, where=lambda screen: screen[0].startswith("treeroll ") and bool(screen[1].strip()))
    assert screen[0].startswith("treeroll ")
    assert screen[0].rstrip().endswith(" s")
    assert screen[1].split(":")[0].strip() in ("all well", "PAGE", "WARN", "ADVICE")


def test_lists_are_chosen_by_number_and_by_tab(terminal: Terminal) -> None:
    terminal.press("2")
    terminal.shows("math-7b", "12/12", where=has_rows(1, "closed"))
    terminal.press("Tab")
    terminal.shows("task", "arith-001", where=has_rows(12, "complete"))
    terminal.press("4")
    terminal.shows("trainer-0", "acknowledged", "12")
    terminal.press("5")
    terminal.shows("when", "ended_path")


def test_rows_are_sorted_filtered_and_opened_and_esc_leads_back(terminal: Terminal) -> None:
    terminal.press("3")
    terminal.shows("arith-001")
    terminal.press("s", "s")
    tasks = sorted(task.id for task in read_tasks(TASKS_FILE, limit=12))
    terminal.shows("task ^", where=lambda screen: tasks_of(screen) == tasks)
    terminal.press("S")
    terminal.shows("task v", where=lambda screen: tasks_of(screen) == tasks[::-1])
    terminal.press("/")
    terminal.shows("only rows with this text")
    terminal.press(*"arith-007", "Enter")
    terminal.shows(where=has_rows(1, "complete  -"))
    terminal.press("Enter")
    terminal.shows("trees: ", "task id", "arith-007")
    terminal.press("End")  # below its figures, what was decided of it
    terminal.shows("begins, one of the first branches", "the tree began on r0")
    terminal.press("Escape")
    terminal.shows("1 replicas", where=has_rows(0, "task id"))
    terminal.press("Escape")
    terminal.shows("arith-001", where=has_rows(12, "complete"))


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
    terminal.shows("1 replicas", where=has_rows(0, "sort by the next column"))
    terminal.press("q")
    terminal.shows("ended with 0")


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
