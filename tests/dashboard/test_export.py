"""A tree that is exported by the dashboard is the same tree wherever results are read."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser
from tests.dashboard.conftest import asking
from tests.dashboard.watched import look
from tests.support.eventually import eventually_sync
from tests.support.rollouts import grown_trees

from treeroll.cli.main import app
from treeroll.client import connect
from treeroll.client.columns import decisions_table
from treeroll.dashboard.decisions import DecisionQuery
from treeroll.dashboard.query import TreeQuery
from treeroll.dashboard.sources.base import Source
from treeroll.dashboard.sources.live import LiveSource
from treeroll.dashboard.sources.results import ResultSource
from treeroll.demo import TASKS_FILE
from treeroll.errors import InvalidInput, UnknownTree
from treeroll.records.decision import decision
from treeroll.records.events import Event
from treeroll.results.audit import audit_directory
from treeroll.results.directory import ResultDir
from treeroll.results.exported import opened
from treeroll.results.parts import PartWriter
from treeroll.results.session import Session
from treeroll.store.embedded import EmbeddedRedis
from treeroll.store.redis import RedisStore
from treeroll.tasks import read_tasks
from treeroll.testing.service import running_service


def live(tmp_path: Path) -> Iterator[Source]:
    with EmbeddedRedis(tmp_path) as redis, running_service(store=RedisStore(redis.url)) as address:
        with connect(address) as client:
            run = client.create_run("run", recipe="treepo", leaves=8, segment_tokens=32, scorer="arith")
            run.submit(read_tasks(TASKS_FILE, limit=3))
            run.close()
            for batch in run.batches(group="trainer"):
                assert batch.trees
        source = LiveSource(redis.url)
        try:
            eventually_sync(lambda: source.trees(TreeQuery(status="complete"))["matching"] == 3, interval_s=0.2)
            yield source
        finally:
            source.close()


def of_results(tmp_path: Path) -> Iterator[Source]:
    events = [Event("ended", "run", tree.tree_id, reason="complete", count=8) for tree in grown_trees()]
    rows = decisions_table([decision(1.0 + place, 1, event) for place, event in enumerate(events)])
    PartWriter(ResultDir(tmp_path), 0).write(grown_trees(), Session("run"), rows)
    yield ResultSource(tmp_path)


@pytest.fixture(params=[live, of_results], ids=["live", "results"])
def origin(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Source]:
    (tmp_path / "origin").mkdir()
    yield from request.param(tmp_path / "origin")


def test_a_tree_that_is_read_again_is_the_same_to_the_last_figure(
    origin: Source, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tree_id = origin.trees(TreeQuery())["items"][0]["tree_id"]
    file = tmp_path / "tree.jsonl"
    for client in asking(origin):
        answer = client.get(f"/api/1/trees/{tree_id}/export")
        assert answer.headers["content-disposition"] == f'attachment; filename="tree-{tree_id[:16]}.jsonl"'
        file.write_bytes(answer.content)
    with opened(file) as place:
        again = ResultSource(place)
        assert [row["tree_id"] for row in again.trees(TreeQuery())["items"]] == [tree_id]
        assert again.tree(tree_id) == origin.tree(tree_id)
        count = again.shape(tree_id).nodes
        assert again.shape(tree_id).encoded(0, count) == origin.shape(tree_id).encoded(0, count)
        numbers = range(count)
        assert again.nodes(tree_id, numbers) == origin.nodes(tree_id, numbers)
        decided, before = (source.decisions(DecisionQuery(tree=tree_id))["items"] for source in (again, origin))
        assert [{**one, "id": ""} for one in decided] == [{**one, "id": ""} for one in before]
        assert decided
        _, broken = audit_directory(place)
        assert broken == []
    assert not place.exists()
    capsys.readouterr()
    assert app.run(["inspect", "--from", str(file)]) == 0
    assert tree_id[:8] in capsys.readouterr().out


def test_what_is_not_there_is_not_exported(origin: Source) -> None:
    with pytest.raises(UnknownTree):
        origin.export("none")
    for client in asking(origin):
        assert client.get("/api/1/trees/none/export").status_code == 404


HEAD = '{"treeroll": "tree", "schema_version": 1, "tree_id": "t"}\n'


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "is no tree that was exported"),
        ("PAR1\n", "is no tree that was exported"),
        (HEAD.replace("1", "9"), "schema version 9, and this treeroll reads 1"),
        (HEAD + '{"kind": "nodes", "row": {"te', "line 2: not a row of an exported tree; was the file cut short?"),
        (HEAD + '{"kind": "secrets", "row": {}}\n', "line 2: there are no rows of kind 'secrets'"),
        (HEAD + '{"kind": "nodes", "row": {"depth": "deep"}}\n', "its nodes are not rows of this version"),
    ],
)
def test_a_file_that_is_none_is_refused_in_a_sentence(tmp_path: Path, text: str, sentence: str) -> None:
    file = tmp_path / "tree.jsonl"
    file.write_text(text)
    with pytest.raises(InvalidInput, match=sentence), opened(file):
        pass


@pytest.mark.browser
def test_the_button_saves_the_file(chromium: Browser, tmp_path: Path) -> None:
    (tmp_path / "origin").mkdir()
    for source in of_results(tmp_path / "origin"):
        tree_id = grown_trees()[0].tree_id
        for watched in look(chromium, source):
            watched.open(f"/trees/{tree_id}")
            with watched.page.expect_download() as saving:
                watched.page.get_by_role("button", name="export").click()
            saving.value.save_as(tmp_path / "saved.jsonl")
    assert json.loads((tmp_path / "saved.jsonl").read_text().splitlines()[0])["tree_id"] == tree_id
