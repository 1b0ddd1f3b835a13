"""ResultSource: a rollout's directory, finished or still being written."""

import json
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from treeroll import __version__
from treeroll.dashboard.decisions import DecisionQuery
from treeroll.dashboard.happenings import HappeningQuery
from treeroll.dashboard.query import TaskQuery, TreeQuery
from treeroll.dashboard.shape import Shape
from treeroll.dashboard.sources import results_index
from treeroll.dashboard.sources.base import Json
from treeroll.dashboard.sources.decision_file import DecisionFile
from treeroll.dashboard.sources.tree_tables import Shapes, TreeTables
from treeroll.errors import InvalidInput, UnknownRun, UnknownTree
from treeroll.results.directory import ResultDir
from treeroll.results.reader import ResultReader

# The directory is looked at again after so long.
LOOK_AGAIN_S = 1.0


class ResultSource:
    """Reads what a page asks for, and no more: of a tree its own rows."""

    kind = "results"

    def __init__(self, path: Path, name: str = "") -> None:
        """`name`: what people know it by, if not the path. InvalidInput for a directory that holds no results."""
        self._path = path
        self._name = name or str(path)
        self._reader = ResultReader.existing(path)
        self._directory = ResultDir(path)
        self._decisions = DecisionFile(self._reader)
        self._lock = threading.Lock()
        self._contents = results_index.read(self._reader)
        self._looked_at = time.monotonic()
        self._shapes = Shapes()
        self._tree: tuple[object, TreeTables] | None = None  # the one that was asked for last

    def about(self) -> Json:
        """What this is."""
        record, summary = self._json(self._directory.run), self._json(self._directory.summary)
        sessions = self._reader.sessions()
        versions = next((session.versions for session in reversed(sessions.values()) if session.versions), {})
        return {
            "kind": self.kind,
            "name": self._name,
            "pages": ["runs", "trees", *(["events"] if self._decisions.there else []), "about"],
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

    def tasks(self, query: TaskQuery) -> Json:
        """A page of them."""
        contents = self._look()
        if query.run not in self._run_ids(contents):
            raise UnknownRun(f"{self._path} has no run {query.run}")
        return {**contents.index.tasks(query), "behind": False}

    def live(self) -> tuple[int, Json]:
        """Results are told once: what is here has happened."""
        raise InvalidInput("results of a rollout do not change by the second: give --store of a running service")

    def history(self) -> Json:
        """None."""
        return {"at": []}

    def metrics(self) -> bytes:
        """Results are not scraped."""
        raise InvalidInput("results of a rollout have no metrics: give --store of a running service")

    def targets(self) -> list[Json]:
        """Results have no replicas."""
        raise InvalidInput("results of a rollout have no replicas: give --store of a running service")

    def events(self, query: HappeningQuery) -> Json:
        """What happened to fleet and runs is in the store."""
        raise InvalidInput("results of a rollout tell of trees alone: give --store of a running service for events")

    def decisions(self, query: DecisionQuery) -> Json:
        """What was decided of trees."""
        if not self._decisions.there:
            raise InvalidInput(
                f"{self._path} has no events.parquet: the service logged no decisions (store.events_mb is 0), or the "
                "rollout could not read its store"
            )
        return self._decisions.page(query)

    def feed(self) -> Json:
        """Results have no feed."""
        raise InvalidInput("results of a rollout have no feed: give --store of a running service")

    def group(self, run_id: str, group: str) -> Json:
        """Results have no groups."""
        raise InvalidInput("results of a rollout have no feed: give --store of a running service")

    def store(self) -> Json:
        """Results are in no store."""
        raise InvalidInput("results of a rollout are in no store: give --store of a running service")

    def trees(self, query: TreeQuery) -> Json:
        """A page of the list."""
        index = self._look().index
        page = index.page(query)
        page["items"] = [_listed(row) for row in page["items"]]
        page["filters"] = {name: index.values(name) for name in ("status", "stop_reason", "model", "run_id")}
        return page

    def tree(self, tree_id: str) -> Json:
        """The header."""
        return self._tables(tree_id).header(self.shape(tree_id))

    def export(self, tree_id: str) -> Iterator[bytes]:
        """The tree as a file."""
        tables = self._tables(tree_id)
        return tables.export(self._decisions.of_tree(tree_id))

    def shape(self, tree_id: str) -> Shape:
        """The columns, kept for the last few trees."""
        tables = self._tables(tree_id)
        return self._shapes.get(tables, tables.shape)

    def nodes(self, tree_id: str, numbers: Sequence[int], *, whole: bool = False) -> list[Json]:
        """Nodes by number."""
        return self._tables(tree_id).nodes(numbers, whole=whole)

    def find(self, tree_id: str, wanted: str) -> Json:
        """Where a text is."""
        return self._tables(tree_id).find(self.shape(tree_id), wanted)

    def path(self, tree_id: str, number: int, *, whole: bool = False) -> list[Json]:
        """The nodes above one, and itself."""
        return self._tables(tree_id).path(self.shape(tree_id), number, whole=whole)

    def _look(self) -> results_index.Contents:
        """What is there now, read again if files have changed."""
        with self._lock:
            if time.monotonic() - self._looked_at > LOOK_AGAIN_S:
                if results_index.signature(self._reader) != self._contents.signature:
                    self._contents = results_index.read(self._reader)
                self._looked_at = time.monotonic()
            return self._contents

    def _tables(self, tree_id: str) -> TreeTables:
        contents = self._look()
        kept, key = self._tree, (tree_id, contents.signature)
        if kept is not None and kept[0] == key:
            return kept[1]
        if (row := contents.rows.get(tree_id)) is None:
            raise UnknownTree(f"{self._path} has no tree {tree_id}; the list of trees has those that it holds")

        def read(kind: str, columns: list[str]) -> pa.Table | None:
            spans = contents.spans[kind].get(tree_id)
            return pa.concat_tables([span.read(columns) for span in spans]) if spans else None

        tables = TreeTables(row, read)
        self._tree = key, tables
        return tables

    def _run_ids(self, contents: results_index.Contents) -> list[str]:
        return list(dict.fromkeys([*self._reader.sessions(), *(row["run_id"] for row in contents.rows.values())]))

    def _run_line(self, contents: results_index.Contents, run_id: str) -> Json:
        session = self._reader.sessions().get(run_id)
        record, summary = self._json(self._directory.run) or {}, self._json(self._directory.summary)
        totals = contents.index.totals(run_id)
        rewards, scored = totals.pop("rewards"), totals.pop("scored_leaves")
        so_far = rewards / scored if scored else None
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
            "mean_reward": summary.get("mean_reward") if summary else so_far,
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
