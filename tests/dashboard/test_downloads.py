"""Lists as files: every row that matches, in the list's own words, and harmless in a spreadsheet."""

import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser
from starlette.testclient import TestClient
from tests.dashboard.conftest import asking, rewritten
from tests.dashboard.watched import look
from tests.support.rollouts import grown_trees

from treeroll.client.columns import decisions_table
from treeroll.dashboard.query import TreeQuery
from treeroll.dashboard.sources.results import ResultSource
from treeroll.records.decision import decision
from treeroll.records.events import Event
from treeroll.results.directory import ResultDir
from treeroll.results.parts import PartWriter
from treeroll.results.session import Session


def table(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text, newline="")))


def test_a_file_of_trees_has_all_that_match_in_the_order_of_the_list(client: TestClient) -> None:
    listed = client.get("/api/1/trees?order=tokens&direction=asc").json()["items"]
    answer = client.get("/api/1/download/trees.csv?order=tokens&direction=asc&limit=2&cursor=x")
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    assert answer.headers["content-disposition"] == 'attachment; filename="trees.csv"'
    rows = table(answer.text)
    assert [row["tree_id"] for row in rows] == [row["tree_id"] for row in listed]
    assert [int(row["spent"]) for row in rows] == [row["spent"] for row in listed]
    assert [json.loads(row["replicas"]) for row in rows] == [row["replicas"] for row in listed]
    whole = client.get("/api/1/download/trees.json?order=tokens&direction=asc").json()
    assert whole["items"] == listed
    assert whole["as_of"] > 1e9
    assert [row["task_id"] for row in table(client.get("/api/1/download/trees.csv?q=arith-003").text)] == ["arith-003"]


def test_a_file_of_runs_has_those_of_the_list(client: TestClient) -> None:
    items = client.get("/api/1/runs").json()["items"]
    assert client.get("/api/1/download/runs.json").json()["items"] == items
    (row,) = table(client.get("/api/1/download/runs.csv").text)
    assert (row["run_id"], int(row["spent"])) == ("run", items[0]["spent"])
    assert client.get("/api/1/download/runs.csv?q=another").text == ""


def test_a_file_of_decisions_goes_on_over_all_pages_and_says_what_is_missing(tmp_path: Path) -> None:
    tree = grown_trees()[0]
    events = [Event("forked", "run", tree.tree_id, path=f"0.{i}", reason="fork") for i in range(450)]
    rows = decisions_table([decision(1.0 + i, 1, event) for i, event in enumerate(events)])
    session = Session("run", decisions_missing="some went with the store")
    PartWriter(ResultDir(tmp_path), 0).write(grown_trees(), session, rows)
    for client in asking(ResultSource(tmp_path)):
        found = table(client.get("/api/1/download/decisions.csv?kind=forked").text)
        assert (found[0]["kind"], found[0]["sentence"]) == ("gap", "some went with the store")
        assert [row["path"] for row in found[1:]] == [f"0.{i}" for i in reversed(range(450))]


def test_cells_that_a_spreadsheet_would_run_are_texts(tmp_path: Path) -> None:
    directory = ResultDir(tmp_path)
    PartWriter(directory, 0).write(grown_trees(), Session("run"))
    texts = ["=cmd|' /C calc'!A0", "+1", "-1", "@SUM(A1)", "\tx", 'a "quote", and\nlines']
    rewritten(directory.part("trees", 0), "task_id", lambda i: texts[i])
    for client in asking(ResultSource(tmp_path)):
        found = {row["task_id"] for row in table(client.get("/api/1/download/trees.csv").text)}
        assert found == {*(f"'{text}" for text in texts[:5]), texts[5]}
        kept = {row["task_id"] for row in client.get("/api/1/download/trees.json").json()["items"]}
        assert kept == set(texts)


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("trees.xls", "there is no list 'trees.xls'; there is runs, trees"),
        ("secrets.csv", "there is no list 'secrets.csv'"),
        ("trees.csv?colour=red", "no filter 'colour'"),
        ("runs.csv?colour=red", "no filter 'colour'; there is q"),
        ("replicas.csv", "results of a rollout do not change by the second"),
        ("groups.csv", "results of a rollout have no feed"),
        ("decisions.json", "has no events.parquet"),
    ],
)
def test_what_is_no_list_here_is_refused_in_a_sentence(client: TestClient, path: str, said: str) -> None:
    answer = client.get(f"/api/1/download/{path}")
    assert answer.status_code == answer.json()["code"] == 400
    assert said in answer.json()["error"]
    assert "content-disposition" not in answer.headers


class Behind(ResultSource):
    """A list of which some is read with each answer, as a service's with many trees is."""

    left = 3
    matching = 0

    def trees(self, query: TreeQuery) -> dict[str, Any]:
        self.left -= 1
        found = super().trees(query)
        items = found["items"] if self.left <= 0 else []
        return {**found, "items": items, "matching": self.matching or found["matching"], "behind": self.left > 0}


def test_a_list_that_is_still_being_read_is_read_to_its_end(results: Path) -> None:
    for client in asking(Behind(results)):
        assert len(client.get("/api/1/download/trees.json").json()["items"]) == len(grown_trees())


def test_more_trees_than_a_file_has_are_refused_and_not_cut(results: Path) -> None:
    source = Behind(results)
    source.matching = 100_001
    for client in asking(source):
        answer = client.get("/api/1/download/trees.csv")
        assert answer.status_code == 400
        assert "100,001 trees match, and a file has at most 100,000" in answer.json()["error"]


@pytest.mark.browser
def test_a_list_is_saved_as_its_filters_have_it(chromium: Browser, source: ResultSource, tmp_path: Path) -> None:
    for watched in look(chromium, source):
        watched.open("/trees?q=arith-003")
        with watched.page.expect_download() as saving:
            watched.page.get_by_role("button", name="CSV").click()
        saving.value.save_as(tmp_path / saving.value.suggested_filename)
    (row,) = table((tmp_path / "trees.csv").read_text())
    assert row["task_id"] == "arith-003"
