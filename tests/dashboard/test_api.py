"""The API under /api/1/ on a rollout's results, without a browser."""

import struct
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from starlette.testclient import TestClient
from tests.dashboard.conftest import asking, rewritten
from tests.support.rollouts import grown_trees

from treeroll.dashboard.shape import COLUMNS, NO_PARENT, decoded
from treeroll.dashboard.sources.results import ResultSource
from treeroll.errors import InvalidInput
from treeroll.results.directory import ResultDir
from treeroll.results.parts import PartWriter
from treeroll.results.session import Session


def some_tree(client: TestClient) -> str:
    return client.get("/api/1/trees?order=nodes").json()["items"][0]["tree_id"]


def test_every_answer_says_as_of_when_it_is(client: TestClient) -> None:
    for path in ("/about", "/runs", "/runs/run", "/trees", f"/trees/{some_tree(client)}"):
        answer = client.get(f"/api/1{path}").json()
        assert answer["as_of"] > 1e9
        assert answer["epoch"] is None  # of a coordinator, and none was asked


def test_a_runs_figures_are_those_of_its_rows(client: TestClient) -> None:
    trees = grown_trees()
    run = client.get("/api/1/runs/run").json()
    assert run["trees"] == len(trees)
    assert run["leaves"] == sum(len(tree.samples) for tree in trees)
    assert run["spent"] == sum(tree.row().spent for tree in trees)
    assert run["wasted"] == sum(tree.row().wasted_tokens for tree in trees)
    assert run["nodes"] == sum(len(tree.nodes) for tree in trees)
    rewards = [sample.reward for tree in trees for sample in tree.samples if sample.reward is not None]
    assert run["mean_reward"] == pytest.approx(np.mean(rewards))
    assert run["no_signal"] == sum(len({sample.reward for sample in tree.samples}) == 1 for tree in trees)


def test_a_trees_figures_are_those_of_its_rows(client: TestClient) -> None:
    for tree in grown_trees():
        header = client.get(f"/api/1/trees/{tree.tree_id}").json()
        rewards = [sample.reward for sample in tree.samples if sample.reward is not None]
        assert header["nodes"] == len(tree.nodes)
        assert header["mean_reward"] == pytest.approx(np.mean(rewards))
        assert (header["spent"], header["wasted_tokens"]) == (tree.row().spent, tree.row().wasted_tokens)
        assert header["prompt"] == tree.prompt_text
        listed = client.get(f"/api/1/trees?q={tree.tree_id}").json()["items"]
        assert [row["tree_id"] for row in listed] == [tree.tree_id]
        assert listed[0]["mean_reward"] == pytest.approx(np.mean(rewards))


def test_a_shape_says_of_every_node_what_its_row_says(client: TestClient) -> None:
    for tree in grown_trees():
        words = client.get(f"/api/1/trees/{tree.tree_id}").json()["words"]
        shape = decoded(client.get(f"/api/1/trees/{tree.tree_id}/shape").content)
        advantages = {sample.sample_id: float(sample.advantages[-1]) for sample in tree.samples}
        assert len(shape["parent"]) == len(tree.nodes)
        for i, node in enumerate(tree.nodes):
            parent = int(shape["parent"][i])
            assert node.parent_id == (None if parent == NO_PARENT else tree.nodes[parent].node_id)
            assert shape["tokens"][i] == len(node.token_ids)
            assert shape["token_start"][i] == node.token_start
            assert shape["leaves"][i] == node.n_leaves
            assert words["status"][shape["status"][i]] == node.status
            assert words["reason"][shape["reason"][i]] == node.branch_reason
            assert shape["value"][i] == pytest.approx(node.value)
            below = [value for leaf, value in advantages.items() if leaf == node.node_id or inside(leaf, node.node_id)]
            assert shape["advantage"][i] == pytest.approx(np.mean(below), abs=1e-6)
            if len(node.logprobs):
                assert shape["lp_sum"][i] == pytest.approx(float(np.sum(node.logprobs)), rel=1e-5)
                assert shape["lp_min"][i] == np.min(node.logprobs)


def inside(leaf: str, node: str) -> bool:
    return leaf.startswith(f"{node}." if not node.endswith(":") else node)


def test_a_shape_comes_in_parts_of_which_each_goes_on_where_the_last_ended(client: TestClient) -> None:
    tree = some_tree(client)
    whole = decoded(client.get(f"/api/1/trees/{tree}/shape").content)
    total = len(whole["parent"])
    parts = []
    while (first := sum(len(part["parent"]) for part in parts)) < total:
        raw = client.get(f"/api/1/trees/{tree}/shape?from={first}&most=7").content
        assert struct.unpack("<I", raw[4:8]) == (first,)
        parts.append(decoded(raw))
    for name in COLUMNS:
        joined = np.concatenate([part[name] for part in parts])
        assert np.array_equal(joined, whole[name], equal_nan=COLUMNS[name] == "<f4")


def test_texts_of_nodes_and_of_a_path_are_those_of_its_rows(client: TestClient) -> None:
    tree = grown_trees()[0]
    for number in (0, len(tree.nodes) - 1):
        (node,) = client.get(f"/api/1/trees/{tree.tree_id}/nodes?numbers={number}").json()["items"]
        assert node["text"] == tree.nodes[number].text
    sample = tree.samples[-1]
    leaf = next(i for i, node in enumerate(tree.nodes) if node.node_id == sample.sample_id)
    path = client.get(f"/api/1/trees/{tree.tree_id}/path/{leaf}").json()["items"]
    assert "".join(node["text"] for node in path[1:]) == sample.completion_text
    assert path[-1]["leaf"]["reward"] == sample.reward


def test_pages_of_a_list_have_every_tree_once(client: TestClient) -> None:
    for order in ("arrival", "wasted", "tokens", "reward", "spread", "task"):
        for direction in ("asc", "desc"):
            seen: list[str] = []
            cursor = ""
            while True:
                query = {"limit": "2", "order": order, "direction": direction, "cursor": cursor}
                page = client.get("/api/1/trees", params=query).json()
                seen += [row["tree_id"] for row in page["items"]]
                cursor = page["cursor"]
                assert page["total"] == page["matching"] == len(grown_trees())
                if not cursor:
                    break
            assert len(seen) == len(set(seen)) == len(grown_trees())


def test_filters_let_through_what_they_say(client: TestClient) -> None:
    def found(**query: str) -> list[dict[str, object]]:
        return client.get("/api/1/trees", params=query).json()["items"]

    assert len(found(status="complete")) == len(grown_trees())
    assert found(status="failed") == []
    assert all(row["spread"] == 0 for row in found(signal="none"))
    assert all(row["spread"] for row in found(signal="some"))
    assert len(found(signal="none")) + len(found(signal="some")) == len(grown_trees())
    assert [row["task_id"] for row in found(q="ARITH-003")] == ["arith-003"]
    assert found(replica="r0")
    assert found(replica="r9") == []
    assert all(row["mean_reward"] >= 0.5 for row in found(min_reward="0.5"))


@pytest.mark.parametrize(
    ("path", "status", "said"),
    [
        ("/trees/none", 404, "no tree none"),
        ("/runs/none", 404, "no run none"),
        ("/nothing", 404, "nothing at"),
        ("/trees?colour=red", 400, "no filter 'colour'"),
        ("/trees?min_reward=much", 400, "'much' is not a number"),
        ("/trees?limit=0", 400, "1 to 500"),
        ("/trees?order=beauty", 400, "order of 'beauty'"),
        ("/trees?cursor=%25", 400, "cursor"),
        ("/runs?limit=0", 400, "1 to 1000"),
        ("/runs?skip=x", 400, "not a whole number"),
        ("/trees/{tree}/nodes", 400, "name 1 to 200 nodes"),
        ("/trees/{tree}/nodes?numbers=a", 400, "whole numbers"),
        ("/trees/{tree}/nodes?numbers=99999", 404, "no number 99999"),
        ("/trees/{tree}/path/99999", 404, "no number 99999"),
        ("/trees/{tree}/shape?from=-1", 400, "negative"),
        ("/trees/none/shape", 404, "no tree none"),
    ],
)
def test_what_cannot_be_answered_is_told_in_a_sentence(client: TestClient, path: str, status: int, said: str) -> None:
    answer = client.get("/api/1" + path.replace("{tree}", some_tree(client)))
    assert answer.status_code == answer.json()["code"] == status
    assert said in answer.json()["error"]
    assert "Traceback" not in answer.text


def test_trees_that_come_while_it_runs_are_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("treeroll.dashboard.sources.results.LOOK_AGAIN_S", -1.0)
    trees = grown_trees()
    writer = PartWriter(ResultDir(tmp_path), 0)
    writer.write(trees[:1], Session("run"))
    for client in asking(ResultSource(tmp_path)):
        assert client.get("/api/1/trees").json()["total"] == 1
        writer.write(trees[1:3], Session("run"))
        assert client.get("/api/1/trees").json()["total"] == 3


@pytest.mark.parametrize(
    ("kind", "column"), [("trees", "spent"), ("nodes", "entropies"), ("nodes", "text"), ("samples", "reward")]
)
def test_results_of_another_version_are_refused_and_told_what_they_lack(tmp_path: Path, kind: str, column: str) -> None:
    directory = ResultDir(tmp_path)
    PartWriter(directory, 0).write(grown_trees()[:1], Session("run"))
    path = directory.part(kind, 0)
    with pq.ParquetFile(path) as file:
        table = file.read()
    pq.write_table(table.drop_columns([column]), path)
    with pytest.raises(InvalidInput, match=f"another version of treeroll.* lacks {column}, and this treeroll reads"):
        ResultSource(tmp_path)


def test_results_of_another_schema_version_are_refused(tmp_path: Path) -> None:
    directory = ResultDir(tmp_path)
    PartWriter(directory, 0).write(grown_trees()[:1], Session("run"))
    path = directory.part("trees", 0)
    with pq.ParquetFile(path) as file:
        table = file.read()
    pq.write_table(table.replace_schema_metadata({b"treeroll.schema_version": b"99"}), path)
    with pytest.raises(InvalidInput, match=r"records of schema version 99, and this treeroll reads \d"):
        ResultSource(tmp_path)


def test_a_list_of_trees_whose_prompts_have_a_megabyte_is_small_and_a_prompt_that_is_cut_says_so(
    tmp_path: Path,
) -> None:
    directory = ResultDir(tmp_path)
    PartWriter(directory, 0).write(grown_trees(), Session("run"))
    rewritten(directory.part("samples", 0), "prompt_text", lambda i: "x" * 1_000_000)
    for client in asking(ResultSource(tmp_path)):
        assert len(client.get("/api/1/trees").content) < 20_000
        header = client.get(f"/api/1/trees/{grown_trees()[0].tree_id}").json()
        assert (len(header["prompt"]), header["prompt_chars"]) == (65_536, 1_000_000)


def test_of_ten_thousand_runs_a_page_has_the_newest_and_says_how_many_there_are(
    source: ResultSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    (line,) = source.runs()
    many = [{**line, "run_id": f"run-{number:05}"} for number in range(10_000)]
    monkeypatch.setattr(source, "runs", lambda: many)
    for client in asking(source):
        page = client.get("/api/1/runs").json()
        assert (len(page["items"]), page["matching"], page["total"]) == (100, 10_000, 10_000)
        assert page["items"][0]["run_id"] == "run-09999"
        last = client.get("/api/1/runs?skip=9950").json()["items"]
        assert [run["run_id"] for run in last] == [f"run-{number:05}" for number in range(49, -1, -1)]
        found = client.get("/api/1/runs?q=0123").json()
        assert {run["run_id"] for run in found["items"]} == {"run-00123", *(f"run-0123{n}" for n in range(10))}
        assert found["total"] == 10_000


def test_a_directory_without_results_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="holds no results"):
        ResultSource(tmp_path)


def test_a_tree_whose_nodes_do_not_hang_together_is_told_and_others_are_read(tmp_path: Path) -> None:
    trees = grown_trees()[:2]
    directory = ResultDir(tmp_path)
    PartWriter(directory, 0).write(trees, Session("run"))
    first = len(trees[0].nodes)
    parents = [node.parent_id for tree in trees for node in tree.nodes]
    rewritten(directory.part("nodes", 0), "parent_id", lambda i: "gone" if i == first - 1 else parents[i])
    for client in asking(ResultSource(tmp_path)):
        answer = client.get(f"/api/1/trees/{trees[0].tree_id}")
        assert answer.status_code == 400
        assert "treeroll audit" in answer.json()["error"]
        assert client.get(f"/api/1/trees/{trees[1].tree_id}").status_code == 200


def test_a_long_text_is_cut_and_says_so(tmp_path: Path) -> None:
    directory = ResultDir(tmp_path)
    PartWriter(directory, 0).write(grown_trees()[:1], Session("run"))
    rewritten(directory.part("nodes", 0), "text", lambda i: "x" * 1_000_000)
    tree = grown_trees()[0].tree_id
    for client in asking(ResultSource(tmp_path)):
        (cut,) = client.get(f"/api/1/trees/{tree}/nodes?numbers=1").json()["items"]
        assert (len(cut["text"]), cut["text_chars"]) == (65_536, 1_000_000)
        (whole,) = client.get(f"/api/1/trees/{tree}/nodes?numbers=1&whole=1").json()["items"]
        assert len(whole["text"]) == 1_000_000


def test_figures_of_tasks_are_those_of_their_trees(tmp_path: Path) -> None:
    directory = ResultDir(tmp_path)
    PartWriter(directory, 0).write(grown_trees(), Session("run"))
    names = ["a", "b", "a", "b", "a", "c"]
    rewritten(directory.part("trees", 0), "task_id", lambda i: names[i])
    for client in asking(ResultSource(tmp_path)):
        answer = client.get("/api/1/runs/run/tasks").json()
        assert [row["task_id"] for row in answer["items"]] == ["a", "b", "c"]
        assert (answer["total"], answer["behind"]) == (3, False)
        for row in answer["items"]:
            trees = [tree for tree, name in zip(grown_trees(), names, strict=True) if name == row["task_id"]]
            rewards = [sample.reward for tree in trees for sample in tree.samples if sample.reward is not None]
            assert row["trees"] == len(trees)
            assert (row["unfinished"], row["failed"]) == (0, 0)
            assert row["leaves"] == sum(len(tree.samples) for tree in trees)
            assert row["scored_leaves"] == len(rewards)
            assert row["mean_reward"] == pytest.approx(np.mean(rewards))
            assert row["spread"] == max(rewards) - min(rewards)
            assert row["no_signal"] == sum(len({sample.reward for sample in tree.samples}) == 1 for tree in trees)
            assert row["spent"] == sum(tree.row().spent for tree in trees)
            assert row["wasted"] == sum(tree.row().wasted_tokens for tree in trees)
        for order, column in (("tokens", "spent"), ("reward", "mean_reward"), ("spread", "spread"), ("trees", "trees")):
            rows = client.get(f"/api/1/runs/run/tasks?order={order}&direction=desc").json()["items"]
            assert [row[column] for row in rows] == sorted((row[column] for row in rows), reverse=True)
        pages = [client.get(f"/api/1/runs/run/tasks?skip={skip}&limit=2").json()["items"] for skip in (0, 2)]
        assert [row["task_id"] for page in pages for row in page] == ["a", "b", "c"]
        assert client.get("/api/1/download/tasks.json?run=run").json()["items"] == answer["items"]
        assert client.get("/api/1/download/tasks.json?run=none").status_code == 404
        assert client.get("/api/1/runs/none/tasks").status_code == 404
        for query in ("order=beauty", "direction=up", "limit=0", "skip=-1", "colour=red"):
            assert client.get(f"/api/1/runs/run/tasks?{query}").status_code == 400


def test_a_task_of_which_no_leaf_is_scored_has_no_reward_and_comes_last(tmp_path: Path) -> None:
    directory = ResultDir(tmp_path)
    PartWriter(directory, 0).write(grown_trees()[:2], Session("run"))
    first = grown_trees()[0]
    own = {sample.sample_id for sample in first.samples}
    ids = [sample.sample_id for tree in grown_trees()[:2] for sample in tree.samples]
    rewards = [sample.reward for tree in grown_trees()[:2] for sample in tree.samples]
    rewritten(directory.part("samples", 0), "reward", lambda i: None if ids[i] in own else rewards[i])
    rewritten(directory.part("trees", 0), "n_scored", lambda i: 0 if i == 0 else len(grown_trees()[1].samples))
    for client in asking(ResultSource(tmp_path)):
        for direction in ("asc", "desc"):
            rows = client.get(f"/api/1/runs/run/tasks?order=reward&direction={direction}").json()["items"]
            assert rows[-1]["task_id"] == first.task_id
            assert (rows[-1]["mean_reward"], rows[-1]["spread"], rows[-1]["no_signal"]) == (None, None, 0)
