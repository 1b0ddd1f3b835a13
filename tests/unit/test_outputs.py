"""A rollout's directory: parts, merging, resuming, figures, audit. Crashes may come anywhere."""

import copy
import json
import math
import random
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tests.support.rollouts import grown_trees

from treeroll import whole_file
from treeroll.cli.preflight import most_calls, resolution
from treeroll.client.records import TreeRecord
from treeroll.config import RunConfig
from treeroll.coordinator.specs import resolved
from treeroll.errors import InvalidInput
from treeroll.results import merge as merge_module
from treeroll.results.audit import audit_directory
from treeroll.results.directory import KINDS, Mode, ResultDir, write_json
from treeroll.results.earlier import Earlier
from treeroll.results.merge import merge, superseded
from treeroll.results.parts import PartWriter
from treeroll.results.reader import ResultReader
from treeroll.results.record import RunRecord
from treeroll.results.session import Figures, Session
from treeroll.results.summary import ClusteredMean, Facts, Tally, TreeFigures, summarize

RECORD = RunRecord(
    {"recipe": "treepo", "leaves": 8, "seed": 5}, "tasks.jsonl", "abc", "/models/demo", "simulated", None, "run-1"
)


def session(run_id: str = "run-1", generated: int = 100) -> Session:
    return Session(
        run_id, wall_s=2.0, figures=Figures(generated_tokens=generated), replicas=2, versions={"treeroll": "0"}
    )


@pytest.fixture
def results(tmp_path: Path) -> ResultDir:
    """Three parts of two trees each, as a killed rollout leaves them."""
    directory = ResultDir(tmp_path / "out")
    directory.path.mkdir()
    write_json(directory.run, RECORD.as_json())
    writer = PartWriter(directory, 0)
    trees = grown_trees()
    for i in range(3):
        writer.write(trees[2 * i : 2 * i + 2], session(generated=1000 * (i + 1)))
    return directory


def keys(directory: ResultDir, kind: str) -> list[str]:
    column = {"samples": "sample_id", "nodes": "node_id", "trees": "tree_id"}[kind]
    return [row[column] for row in ResultReader(directory).rows(kind, (column,))]


def expected(kind: str) -> list[str]:
    if kind == "trees":
        return [tree.tree_id for tree in grown_trees()]
    records = (record for tree in grown_trees() for record in getattr(tree, kind))
    return [record.sample_id if kind == "samples" else record.node_id for record in records]


@pytest.mark.parametrize("kind", ["samples", "nodes", "trees"])
def test_parts_are_readable_before_they_are_merged(results: ResultDir, kind: str) -> None:
    parts = sorted(results.parts.glob(f"{kind}-*.parquet"))
    tables = [pq.read_table(part) for part in parts]
    assert len(parts) == 3
    assert len(pa.concat_tables(tables, promote_options="default")) == len(expected(kind))
    assert keys(results, kind) == expected(kind)


def test_a_part_without_samples_is_not_there(results: ResultDir) -> None:
    results.part("samples", 2).unlink()  # the crash came between its two files
    assert keys(results, "nodes") == [n.node_id for tree in grown_trees()[:4] for n in tree.nodes]
    assert Earlier.of(results).next_part == 3


def test_merging_keeps_every_row_once_and_whole_trees_in_a_row_group(
    results: ResultDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(merge_module, "ROW_GROUP_BYTES", 1)
    merge(results, {"run-1": session()})
    for kind in KINDS:
        assert keys(results, kind) == expected(kind)  # parts are still there: nothing is counted twice
        with pq.ParquetFile(results.merged(kind)) as file:
            groups = [
                set(file.read_row_group(i, ["tree_id"])["tree_id"].to_pylist()) for i in range(file.num_row_groups)
            ]
        assert len(groups) == 3
        assert len(set.union(*groups)) == sum(map(len, groups))
    results.clear_parts()
    assert not results.parts.exists()
    assert keys(results, "samples") == expected("samples")


@pytest.mark.parametrize("crash_at", [0, 1, 2])
def test_a_merge_that_was_cut_short_is_done_again(
    results: ResultDir, monkeypatch: pytest.MonkeyPatch, crash_at: int
) -> None:
    calls = 0

    def crash(unfinished: Path, final: Path) -> None:
        nonlocal calls
        if calls == crash_at:
            raise KeyboardInterrupt
        calls += 1
        whole_file.settle(unfinished, final)

    with monkeypatch.context() as patch:
        patch.setattr(merge_module, "settle", crash)
        with pytest.raises(KeyboardInterrupt):
            merge(results, {})
    for kind in KINDS:
        assert keys(results, kind) == expected(kind)
    tally = merge(results, {})
    assert tally.trees == len(grown_trees())
    assert [keys(results, kind) for kind in KINDS] == [expected(kind) for kind in KINDS]


def test_more_parts_are_added_to_merged_files(results: ResultDir) -> None:
    merge(results, {"run-1": session()})
    results.clear_parts()
    earlier = Earlier.of(results)
    assert earlier.next_part == 3
    assert len(earlier.written.done) == 6
    PartWriter(results, earlier.next_part).write([renamed(grown_trees()[0], "new", "t-new")], session("run-2", 7))
    tally = merge(results, ResultReader(results).sessions())
    assert tally.trees == 7
    sessions = ResultReader(results).sessions()
    assert {run: s.figures.generated_tokens for run, s in sessions.items()} == {"run-1": 100, "run-2": 7}


def renamed(tree: TreeRecord, task_id: str, tree_id: str, status: str = "complete") -> TreeRecord:
    """The same tree of another task, or of another session."""
    tree = copy.deepcopy(tree)
    old = tree.tree_id
    tree.task_id, tree.tree_id, tree.status = task_id, tree_id, status
    for node in tree.nodes:
        node.tree_id, node.node_id = tree_id, node.node_id.replace(old, tree_id)
        node.parent_id = node.parent_id and node.parent_id.replace(old, tree_id)
    for sample in tree.samples:
        sample.tree_id, sample.task_id, sample.status, sample.group_id = tree_id, task_id, status, tree_id
        sample.sample_id = sample.sample_id.replace(old, tree_id)
        sample.path_node_ids = [name.replace(old, tree_id) for name in sample.path_node_ids]
    return tree


def test_a_partial_tree_gives_way_to_a_complete_one_of_its_task(results: ResultDir) -> None:
    first = grown_trees()[0]
    writer = PartWriter(results, 3)
    writer.write([renamed(first, "cut", "t-partial", "partial")], session())
    assert "cut" not in Earlier.of(results).written.done
    writer.write([renamed(first, "cut", "t-complete")], session("run-2"))
    writer.write([renamed(first, "cut", "t-partial-again", "partial")], session("run-3"))
    tally = merge(results, {})
    trees = {row["tree_id"] for row in ResultReader(results).rows("nodes", ("tree_id",))}
    assert {name for name in trees if name.startswith("t-")} == {"t-complete"}
    assert (tally.trees, tally.partial_trees) == (7, 0)


def test_the_tally_is_what_the_rows_say(results: ResultDir) -> None:
    tally = merge(results, {})
    trees = grown_trees()
    samples = [sample for tree in trees for sample in tree.samples]
    assert tally.samples == len(samples) == 48
    assert tally.prompt_tokens == sum(len(tree.samples[0].prompt_ids) for tree in trees)
    assert tally.delivered_tokens == sum(len(sample.completion_ids) for sample in samples)
    assert tally.unique_tokens == sum(len(n.token_ids) for tree in trees for n in tree.nodes if n.depth and n.n_leaves)
    rewards = [sample.reward for sample in samples]
    assert tally.reward.mean == pytest.approx(np.mean(rewards))
    mixed = [len({s.reward for s in tree.samples}) > 1 for tree in trees]
    assert tally.mixed_trees == sum(mixed)


def test_calls_are_counted_along_the_path_of_each_sample(results: ResultDir) -> None:
    tree = renamed(grown_trees()[0], "agent", "t-agent")
    for node in tree.nodes[1::2]:
        node.observation_tokens = 2
    answered = {node.node_id for node in tree.nodes if node.observation_tokens}
    PartWriter(results, 3).write([tree], session())
    tally = merge(results, {})
    calls = Counter(len(answered & set(sample.path_node_ids)) for sample in tree.samples)
    assert len(calls) > 1
    assert tally.calls == calls + Counter({0: 48})
    assert tally.calls.total() == tally.samples


def test_the_summary_says_how_often_samples_called_and_how_many_were_stopped_by_their_cap() -> None:
    def said(calls: dict[int, int], most: int | None) -> object:
        return summarize(Tally(calls=Counter(calls)), {}, facts(most_calls=most))["calls_per_sample"]

    # Twenty samples; the smallest number of calls that 10, 15 and 18 of them did not exceed.
    assert said({0: 4, 1: 7, 2: 6, 5: 3}, 5) == {"p50": 1, "p75": 2, "p90": 5, "most": 5, "cap": 5, "at_cap": 0.15}
    assert said({0: 1, 3: 1}, None) == {"p50": 0, "p75": 3, "p90": 3, "most": 3, "cap": None, "at_cap": None}
    assert said({0: 9}, 4) == {"p50": 0, "p75": 0, "p90": 0, "most": 0, "cap": 4, "at_cap": 0.0}
    assert said({0: 9}, None) is None
    assert said({}, 4) is None


def test_a_path_may_call_as_often_as_its_segments_say() -> None:
    agent: dict[str, Any] = {"recipe": "flat", "max_depth": 6, "segment": {"name": "agent_step"}}

    def calls(**settings: Any) -> int | None:
        return most_calls(resolved(RunConfig(**settings)))

    assert calls(**agent) == 5
    assert calls(**{**agent, "segment": {**agent["segment"], "turn_cap": 2, "turn_extension": 1}}) == 3
    assert calls(recipe="arpo") == 3  # four segments are the recipe's
    assert calls(recipe="flat") is None
    assert resolution(RunConfig(recipe="elsewhere")) is None


def test_standard_errors_are_of_trees_not_of_leaves() -> None:
    rng = random.Random(1)
    trees = [[rng.random() + shift] * 8 for shift in (0.0, 1.0, 0.5, 0.2)]  # leaves of a tree say all the same
    mean = ClusteredMean()
    for values in trees:
        mean.add(values, [1.0] * 8)
    means = [values[0] for values in trees]
    assert mean.mean == pytest.approx(np.mean(means))
    assert mean.standard_error == pytest.approx(np.std(means, ddof=1) / math.sqrt(len(means)))


def test_a_clustered_mean_weighs_leaves_and_keeps_digits() -> None:
    mean = ClusteredMean()
    mean.add([1e9 + 1, 1e9], [0.25, 0.75])
    assert mean.standard_error is None
    mean.add([1e9 + 1], [1.0])
    mean.add([5.0], [0.0])  # without weight: says nothing
    assert mean.mean == pytest.approx(1e9 + 0.625, abs=1e-6)
    assert mean.standard_error == pytest.approx(0.375, rel=1e-6)
    assert ClusteredMean().mean is None


def facts(**changes: Any) -> Facts:
    return replace(Facts({"recipe": "flat", "seed": 3}, {}, "/m", "vllm", tasks=2, complete=True), **changes)


def test_the_summary_follows_its_definitions() -> None:
    tally = Tally(unique_tokens=50)
    tally.add_tree(TreeFigures(10, [20, 30], [1.0, 0.0], [0.5, 0.5], distinct=2))
    tally.add_tree(TreeFigures(5, [25], [None], [1.0], reward_errors=1, partial=True, distinct=1))
    figures = Figures(generated_tokens=60, forks=1, lost_tokens_max=4, engine_errors=2)
    first = Session("a", 1.0, 2.0, figures, engine_error="a logprob was nan", quarantined=["t7"])
    sessions = {"a": first, "b": Session("b", 1.0, 3.0, Figures(generated_tokens=15))}
    summary = summarize(tally, sessions, facts(failures=[("t9", "it was too long")]))
    assert summary["generated_tokens"] == 75
    assert summary["delivered_tokens"] == 75
    assert summary["sharing_ratio"] == 1.0
    assert summary["wasted_tokens"] == 25
    assert summary["prompt_tokens"] == 15
    assert (summary["wall_s"], summary["setup_s"], summary["tokens_per_s"]) == (5.0, 2.0, 15.0)
    assert (summary["mean_reward"], summary["effective_tree_fraction"]) == (0.5, 0.5)
    assert summary["distinct_sample_fraction"] == 1.0
    assert (summary["trees"], summary["partial_trees"], summary["reward_errors"]) == (2, 1, 1)
    assert (summary["engine_errors"], summary["engine_error"]) == (2, "a logprob was nan")
    assert summary["quarantined"] == ["t7"]
    assert summary["failures"] == [{"task_id": "t9", "error": "it was too long"}]
    json.dumps(summary, allow_nan=False)


def test_without_a_scorer_rewards_are_null() -> None:
    tally = Tally()
    tally.add_tree(TreeFigures(10, [20], [None], [1.0]))
    summary = summarize(tally, {}, facts())
    null = ("mean_reward", "mean_reward_se", "mean_reward_unbiased", "effective_tree_fraction", "samples_per_s")
    assert [summary[key] for key in null] == [None] * len(null)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"tasks_sha256": "other"}, "other tasks: tasks.jsonl is not what tasks.jsonl was then"),
        ({"model": "/m"}, "model /models/demo, now it is /m"),
        ({"engine": "vllm"}, "engine simulated, now it is vllm"),
        ({"run": {"recipe": "treepo", "leaves": 4, "seed": 5}}, "leaves = 8, now it is 4"),
    ],
)
def test_resuming_with_other_settings_is_refused_by_name(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidInput, match=f"--resume: /out was made with {message}; use"):
        RECORD.check_resumed_by(replace(RECORD, **changes), Path("/out"))


def test_a_resumption_may_have_another_budget() -> None:
    more = replace(RECORD, run={**RECORD.run, "budget_tokens": 5}, run_id="run-2", address="localhost:1")
    RECORD.check_resumed_by(more, Path("/out"))


def test_a_damaged_record_is_named(results: ResultDir) -> None:
    results.run.write_text("{")
    with pytest.raises(InvalidInput, match=r"run\.json is not the record of a rollout"):
        Earlier.of(results)


def test_a_directory_with_results_is_refused(results: ResultDir) -> None:
    with pytest.raises(InvalidInput, match="holds results; give --resume to go on, --overwrite to replace them"):
        results.check(Mode.REFUSE)
    results.check(Mode.RESUME)
    results.check(Mode.OVERWRITE)


def test_clearing_removes_results_and_nothing_else(results: ResultDir) -> None:
    mine = results.path / "notes.txt"
    mine.write_text("keep")
    merge(results, {})
    results.clear()
    assert [path.name for path in results.path.iterdir()] == ["notes.txt"]
    assert not results.holds_results()


def test_a_directory_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("")
    with pytest.raises(InvalidInput, match="is not a directory"):
        ResultDir(file).check(Mode.REFUSE)
    with pytest.raises(InvalidInput, match="file is not a directory"):
        ResultDir(file / "out").check(Mode.REFUSE)
    with pytest.raises(InvalidInput, match="output directory /proc/out is not writable"):
        ResultDir(Path("/proc/out")).check(Mode.REFUSE)
    assert list(tmp_path.iterdir()) == [file]


def test_a_directory_that_stays_empty_goes_again(tmp_path: Path) -> None:
    with ResultDir(tmp_path / "a" / "b").opened():
        assert (tmp_path / "a" / "b").is_dir()
    assert list(tmp_path.iterdir()) == []


def test_two_rollouts_cannot_write_to_one_directory(results: ResultDir) -> None:
    with results.opened(), pytest.raises(InvalidInput, match="another rollout is writing to"), results.opened():
        pass


def test_an_audit_of_good_rows_is_clean(results: ResultDir) -> None:
    looked_at, findings = audit_directory(results.path)
    assert findings == []
    assert looked_at.startswith("6 trees, 48 samples, ")
    merge(results, {})
    assert audit_directory(results.path) == (looked_at, [])


Break = Callable[[list[dict[str, Any]], list[dict[str, Any]]], None]


def breaks() -> Iterator[tuple[str, str, Break]]:
    """(invariant, words of the finding, how to break it); rows are of nodes and samples."""

    def lose_sample(nodes: Any, samples: Any) -> None:
        del samples[3]

    def double_node(nodes: Any, samples: Any) -> None:
        nodes.insert(2, nodes[1])

    def lose_parent(nodes: Any, samples: Any) -> None:
        nodes[1]["parent_id"] = "nobody"

    def change_token(nodes: Any, samples: Any) -> None:
        samples[0]["completion_ids"][-1] += 1

    def change_logprob(nodes: Any, samples: Any) -> None:
        samples[0]["logprobs"][0] -= 1.0

    def shift(nodes: Any, samples: Any) -> None:
        nodes[2]["token_start"] += 1

    def drop_logprob(nodes: Any, samples: Any) -> None:
        nodes[1]["logprobs"].pop()

    def null_reward(nodes: Any, samples: Any) -> None:
        samples[0]["reward"] = None

    def drop_advantages(nodes: Any, samples: Any) -> None:
        samples[0]["advantages"] = None

    def other_prompt(nodes: Any, samples: Any) -> None:
        samples[0]["prompt_ids"].append(1)

    def heavy(nodes: Any, samples: Any) -> None:
        samples[0]["path_weight"] = 1.0

    def same_task(nodes: Any, samples: Any) -> None:
        for sample in samples:
            sample["task_id"] = "one"

    yield "NoAckedLoss", "8 leaves and 7 samples", lose_sample
    yield "TreeWellFormed", "is there twice", double_node
    yield "TreeWellFormed", "or without it", lose_parent
    yield "TreeWellFormed", "completion_ids is not the concatenation", change_token
    yield "TreeWellFormed", "logprobs is not the concatenation", change_logprob
    yield "TreeWellFormed", "does not continue its parent's tokens", shift
    yield "TreeWellFormed", "logprobs, or one that is not finite", drop_logprob
    yield "RewardOnce", "has reward None with status ok", null_reward
    yield "RewardOnce", "without one advantage per token", drop_advantages
    yield "TreeWellFormed", "another prompt than its tree", other_prompt
    yield "TreeWellFormed", "path weights sum to", heavy
    yield "DeliveredOnceAcked", "task 0:one has trees", same_task


@pytest.mark.parametrize(("invariant", "words", "damage"), [pytest.param(*b, id=b[2].__name__) for b in breaks()])
def test_an_audit_names_what_is_broken(results: ResultDir, invariant: str, words: str, damage: Break) -> None:
    merge(results, {})
    results.clear_parts()
    tables = {kind: pq.read_table(results.merged(kind)) for kind in ("nodes", "samples")}
    rows = {kind: table.to_pylist() for kind, table in tables.items()}
    damage(rows["nodes"], rows["samples"])
    for kind, table in tables.items():
        pq.write_table(pa.Table.from_pylist(rows[kind], table.schema), results.merged(kind))
    _, findings = audit_directory(results.path)
    assert any(name == invariant and words in detail for name, detail in findings), findings


def test_an_audit_notices_a_missing_tree(results: ResultDir) -> None:
    merge(results, {})
    results.clear_parts()
    table = pq.read_table(results.merged("samples"))
    gone = table["tree_id"][0].as_py()
    pq.write_table(table.filter(pa.compute.not_equal(table["tree_id"], gone)), results.merged("samples"))
    _, findings = audit_directory(results.path)
    assert findings == [("NoAckedLoss", f"from tree {gone} on, samples and nodes are not of the same trees")]


def failed(tree: TreeRecord, task_id: str, tree_id: str) -> TreeRecord:
    """A tree of which nothing came to an end."""
    nodes = [replace(node, n_leaves=0, status="pruned") for node in tree.nodes]
    spent = replace(tree.ledger, granted=tree.ledger.spent, returned=0)
    return replace(
        tree, task_id=task_id, tree_id=tree_id, status="failed", stop_reason="budget", error="the budget is used up",
        samples=[], nodes=nodes, ledger=spent, n_scored=0,
    )  # fmt: skip


def test_a_task_without_a_sample_has_a_row_with_its_reason_and_cost(results: ResultDir) -> None:
    lost = failed(grown_trees()[0], "lost", "t-lost")
    PartWriter(results, 3).write([lost], session())
    looked_at, findings = audit_directory(results.path)
    assert (looked_at.endswith("1 tasks without a sample"), findings) == (True, [])
    merge(results, {})
    results.clear_parts()
    row = ResultReader(results).rows_of_tree("trees", "t-lost")[0]
    assert (row["status"], row["stop_reason"], row["error"]) == ("failed", "budget", "the budget is used up")
    assert (row["n_leaves"], row["wasted_tokens"]) == (0, lost.ledger.spent)
    assert audit_directory(results.path) == (looked_at, [])
    assert "lost" not in Earlier.of(results).written.done


def test_a_tree_that_failed_gives_way_to_any_other_of_its_task(results: ResultDir) -> None:
    writer, first = PartWriter(results, 3), grown_trees()[0]
    writer.write([renamed(first, "again", "t-partial", "partial")], session())
    writer.write([failed(first, "again", "t-failed")], session())
    assert superseded(ResultReader(results)) == {"t-failed"}
    writer.write([renamed(first, "again", "t-whole")], session())
    assert superseded(ResultReader(results)) == {"t-failed", "t-partial"}


@pytest.mark.parametrize(
    ("invariant", "words", "change"),
    [
        ("NoAckedLoss", "none of its samples are there", {"tree_id": "t-other"}),
        ("NoAckedLoss", "has other n_leaves in its row", {"n_leaves": 3}),
        ("NoAckedLoss", "has other status in its row", {"status": "partial"}),
        ("TokensConserved", "its row says otherwise", {"wasted_tokens": 1}),
        ("TokensConserved", "is not spent", {"granted": 1}),
    ],
)
def test_an_audit_notices_a_row_that_is_not_its_trees(
    results: ResultDir, invariant: str, words: str, change: dict[str, Any]
) -> None:
    merge(results, {})
    results.clear_parts()
    table = pq.read_table(results.merged("trees"))
    rows = table.to_pylist()
    rows[0] |= change
    pq.write_table(pa.Table.from_pylist(rows, table.schema), results.merged("trees"))
    findings = audit_directory(results.path)[1]
    assert any(name == invariant and words in detail for name, detail in findings), findings


def test_a_directory_without_results_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="holds no results"):
        ResultReader.existing(tmp_path)
    with pytest.raises(InvalidInput, match="is not a directory"):
        ResultReader.existing(tmp_path / "none")
