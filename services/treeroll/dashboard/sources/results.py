"""ResultSource: a rollout's directory, finished or still being written."""

import json
import threading
import time
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from treeroll import __version__
from treeroll.dashboard.query import TreeQuery
from treeroll.dashboard.shape import Shape
from treeroll.dashboard.sources import results_index
from treeroll.dashboard.sources.base import TEXT_CHARS, Json
from treeroll.dashboard.sources.node_table import NODE_COLUMNS, shape_of
from treeroll.errors import InvalidInput, UnknownNode, UnknownRun, UnknownTree
from treeroll.results.directory import ResultDir
from treeroll.results.reader import ResultReader

# Shapes that are kept: a person goes back and forth between a few trees.
SHAPES = 8
# The directory is looked at again after so long.
LOOK_AGAIN_S = 1.0

_TEXT_COLUMNS = [
    "node_id",
    "parent_id",
    "path",
    "depth",
    "sibling_index",
    "token_start",
    "token_ids",
    "logprobs",
    "entropies",
    "text",
    "branch_reason",
    "decision",
    "status",
    "stop_reason",
    "replica_id",
    "incarnation",
    "attempt",
    "cached_tokens",
    "recomputed_tokens",
    "dropped_tokens",
    "inserted_tokens",
    "observation_tokens",
    "model",
    "temperature",
    "weight_versions",
    "started_at",
    "finished_at",
    "rewards",
    "value",
    "n_leaves",
]
_LEAF_COLUMNS = ["sample_id", "reward", "reward_status", "path_weight", "advantages", "min_weight_version"]


class ResultSource:
    """Reads what a page asks for, and no more: of a tree its own rows."""

    kind = "results"

    def __init__(self, path: Path) -> None:
        """InvalidInput for a directory that holds no results."""
        self._path = path
        self._reader = ResultReader.existing(path)
        self._directory = ResultDir(path)
        self._lock = threading.Lock()
        self._contents = results_index.read(self._reader)
        self._looked_at = time.monotonic()
        self._shapes: OrderedDict[str, Shape] = OrderedDict()

    def about(self) -> Json:
        """What this is."""
        record, summary = self._json(self._directory.run), self._json(self._directory.summary)
        sessions = self._reader.sessions()
        versions = next((session.versions for session in reversed(sessions.values()) if session.versions), {})
        return {
            "kind": self.kind,
            "name": str(self._path),
            "pages": ["runs", "trees", "about"],
            "version": __version__,
            "versions": versions,
            "complete": summary.get("complete") if summary else None,
            "record": record,
            "trees": len(self._look().rows),
        }

    def as_of(self) -> tuple[float, int | None]:
        """When the files changed last."""
        return self._look().changed_at, None

    def runs(self) -> list[Json]:
        """Every session that wrote here."""
        contents = self._look()
        return [self._run_line(contents, run_id) for run_id in self._run_ids(contents)]

    def run(self, run_id: str) -> Json:
        """One with configuration and figures."""
        contents = self._look()
        if run_id not in self._run_ids(contents):
            raise UnknownRun(f"{self._path} has no run {run_id}")
        summary = self._json(self._directory.summary) or {}
        record = self._json(self._directory.run) or {}
        session = self._reader.sessions().get(run_id)
        return {
            **self._run_line(contents, run_id),
            "config": record.get("run", {}),
            "tasks_file": record.get("tasks", ""),
            "policies": summary.get("policies", {}),
            "summary": {name: value for name, value in summary.items() if isinstance(value, int | float)},
            "figures": {} if session is None else _plain(session.figures),
            "caps": session.caps if session else [],
            "stop_detail": session.stop_detail if session else "",
            "engine_error": session.engine_error if session else "",
            "policy_error": session.policy_error if session else "",
            "quarantined": session.quarantined if session else [],
            "failures": summary.get("failures", []),
        }

    def trees(self, query: TreeQuery) -> Json:
        """A page of the list."""
        index = self._look().index
        page = index.page(query)
        page["items"] = [_listed(row) for row in page["items"]]
        page["filters"] = {name: index.values(name) for name in ("status", "stop_reason", "model", "run_id")}
        return page

    def tree(self, tree_id: str) -> Json:
        """The header."""
        contents = self._look()
        row = self._row(contents, tree_id)
        samples = self._rows(contents, "samples", tree_id, ["task_id", "prompt_text", "answer", "reward", "extra"])
        first = samples.slice(0, 1).to_pylist()[0] if samples is not None and samples.num_rows else {}
        shape = self.shape(tree_id)
        rewards = [] if samples is None else [value for value in samples["reward"].to_pylist() if value is not None]
        prompt = first.get("prompt_text") or ""
        header = {name: value for name, value in row.items() if name != "epoch"}  # answers have the coordinator's
        return {
            **header,
            "task_epoch": row["epoch"],
            "prompt": prompt[:TEXT_CHARS],
            "prompt_chars": len(prompt),
            "answer": first.get("answer"),
            "extra": _extra(first.get("extra")),
            "nodes": shape.nodes,
            "words": shape.words,
            "mean_reward": sum(rewards) / len(rewards) if rewards else None,
            "min_reward": min(rewards, default=None),
            "max_reward": max(rewards, default=None),
            "growing": False,
        }

    def shape(self, tree_id: str) -> Shape:
        """The columns, kept for the last few trees."""
        contents = self._look()
        self._row(contents, tree_id)
        with self._lock:
            if tree_id in self._shapes:
                self._shapes.move_to_end(tree_id)
                return self._shapes[tree_id]
        made = self._made_shape(contents, tree_id)
        with self._lock:
            self._shapes[tree_id] = made
            while len(self._shapes) > SHAPES:
                self._shapes.popitem(last=False)
        return made

    def nodes(self, tree_id: str, numbers: Sequence[int], *, whole: bool = False) -> list[Json]:
        """Nodes by number."""
        contents = self._look()
        self._row(contents, tree_id)
        table = self._rows(contents, "nodes", tree_id, _TEXT_COLUMNS)
        count = table.num_rows if table is not None else 0
        if (
            table is None
            or (wrong := next((number for number in numbers if not 0 <= number < count), None)) is not None
        ):
            raise UnknownNode(f"tree {tree_id} has {count} nodes and no number {wrong if table is not None else 0}")
        leaves = self._leaves(contents, tree_id)
        rows = table.take(pa.array(numbers, pa.int64())).to_pylist()
        return [_node(number, row, leaves, whole) for number, row in zip(numbers, rows, strict=True)]

    def path(self, tree_id: str, number: int, *, whole: bool = False) -> list[Json]:
        """The nodes above one, and itself."""
        parents = self.shape(tree_id).columns["parent"]
        if not 0 <= number < len(parents):
            raise UnknownNode(f"tree {tree_id} has {len(parents)} nodes and no number {number}")
        numbers = [number]
        while numbers[-1] != 0:
            numbers.append(int(parents[numbers[-1]]))
        return self.nodes(tree_id, numbers[::-1], whole=whole)

    def _look(self) -> results_index.Contents:
        """What is there now, read again if files have changed."""
        with self._lock:
            if time.monotonic() - self._looked_at > LOOK_AGAIN_S:
                if results_index.signature(self._reader) != self._contents.signature:
                    self._contents = results_index.read(self._reader)
                    self._shapes.clear()
                self._looked_at = time.monotonic()
            return self._contents

    def _row(self, contents: results_index.Contents, tree_id: str) -> Json:
        if (row := contents.rows.get(tree_id)) is None:
            raise UnknownTree(f"{self._path} has no tree {tree_id}; the list of trees has those that it holds")
        return row

    def _rows(self, contents: results_index.Contents, kind: str, tree_id: str, columns: list[str]) -> pa.Table | None:
        spans = contents.spans[kind].get(tree_id)
        return pa.concat_tables([span.read(columns) for span in spans]) if spans else None

    def _made_shape(self, contents: results_index.Contents, tree_id: str) -> Shape:
        nodes = self._rows(contents, "nodes", tree_id, list(NODE_COLUMNS))
        if nodes is None:
            return Shape(shape_of(_no_nodes(self._reader), {}).columns)
        samples = self._rows(contents, "samples", tree_id, ["sample_id", "advantages"])
        advantages: dict[str, float] = {}
        if samples is not None:
            values = results_index.last_values(samples["advantages"])
            pairs = zip(samples["sample_id"].to_pylist(), values, strict=True)
            advantages = {sample_id: value for sample_id, value in pairs if value is not None}
        try:
            return shape_of(nodes, advantages)
        except ValueError as error:
            raise InvalidInput(f"tree {tree_id}: {error}") from None

    def _leaves(self, contents: results_index.Contents, tree_id: str) -> dict[str, Json]:
        samples = self._rows(contents, "samples", tree_id, _LEAF_COLUMNS)
        if samples is None:
            return {}
        advantages = results_index.last_values(samples["advantages"])
        rows = samples.drop_columns(["advantages"]).to_pylist()
        return {row["sample_id"]: {**row, "advantage": value} for row, value in zip(rows, advantages, strict=True)}

    def _run_ids(self, contents: results_index.Contents) -> list[str]:
        return list(dict.fromkeys([*self._reader.sessions(), *(row["run_id"] for row in contents.rows.values())]))

    def _run_line(self, contents: results_index.Contents, run_id: str) -> Json:
        session = self._reader.sessions().get(run_id)
        record, summary = self._json(self._directory.run) or {}, self._json(self._directory.summary)
        totals = contents.index.totals(run_id)
        return {
            "run_id": run_id,
            "state": "ended" if summary else "written so far",
            "recipe": record.get("run", {}).get("recipe", ""),
            "model": record.get("model", ""),
            "engine": record.get("engine", ""),
            **totals,
            "wall_s": session.wall_s if session else None,
            "replicas": session.replicas if session else None,
            "stop_reason": session.stop_reason if session else "",
            "generated_tokens": session.figures.generated_tokens if session else None,
            "mean_reward": (summary or {}).get("mean_reward"),
            "mean_reward_se": (summary or {}).get("mean_reward_se"),
        }

    @staticmethod
    def _json(path: Path) -> Json | None:
        try:
            found = json.loads(path.read_text())
        except (OSError, ValueError):
            return None
        return found if isinstance(found, dict) else None


def _listed(row: Json) -> Json:
    return {**row, "replicas": json.loads(row["replicas"])}


def _plain(figures: Any) -> Json:
    return {name: getattr(figures, name) for name in figures.__slots__}


def _extra(text: Any) -> Any:
    return json.loads(text) if isinstance(text, str) and text else {}


def _no_nodes(reader: ResultReader) -> pa.Table:
    return next(reader.tables("nodes", NODE_COLUMNS)).slice(0, 0)


def _node(number: int, row: Json, leaves: dict[str, Json], whole: bool) -> Json:
    text = row.pop("text")
    leaf = leaves.get(row.pop("node_id"))
    shown = text if whole else text[:TEXT_CHARS]
    row.pop("parent_id")
    rewards = [{**reward} for reward in row.pop("rewards") or ()]
    return {"number": number, **row, "text": shown, "text_chars": len(text), "rewards": rewards, "leaf": leaf}
