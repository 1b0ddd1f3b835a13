"""TreeIndex: one row per tree, in SQLite's memory, for lists that are filtered and sorted."""

import sqlite3
import threading
from collections.abc import Iterable
from typing import Any

from treeroll.dashboard.query import ORDERS, TASK_ORDERS, TaskQuery, TreeQuery

# Columns of a row that lists show or ask about; "replicas" and "versions" are JSON.
ROW = {
    "place": "integer primary key",
    "tree_id": "text",
    "run_id": "text",
    "task_id": "text",
    "epoch": "integer",
    "status": "text",
    "stop_reason": "text",
    "error": "text",
    "model": "text",
    "nodes": "integer",
    "n_leaves": "integer",
    "n_scored": "integer",
    "n_censored": "integer",
    "spent": "integer",
    "wasted_tokens": "integer",
    "late_tokens": "integer",
    "dropped_tokens": "integer",
    "pruned_tokens": "integer",
    "censored_tokens": "integer",
    "wall_s": "real",
    "mean_reward": "real",
    "min_reward": "real",
    "max_reward": "real",
    "spread": "real",
    "min_version": "integer",
    "max_version": "integer",
    "replicas": "text",
    "prompt": "text",
}
# What wasted tokens are, by cause; of results only the sum is known.
CAUSES = ("late_tokens", "dropped_tokens", "pruned_tokens", "censored_tokens")
# Characters of a prompt that are kept for searches and lists.
PROMPT_CHARS = 2000
SHOWN_CHARS = 160


class TreeIndex:
    """Rows by their place in order of arrival. Threads take turns."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._base = sqlite3.connect(":memory:", check_same_thread=False)
        self._base.row_factory = sqlite3.Row
        self._base.execute(f"create table trees ({', '.join(f'{name} {kind}' for name, kind in ROW.items())})")
        self._base.execute("create unique index by_id on trees (tree_id)")

    def put(self, rows: Iterable[dict[str, Any]]) -> None:
        """Add rows; one of a tree that is there takes its place."""
        names = list(ROW)
        marks = ", ".join("?" * len(names))
        with self._lock, self._base:
            self._base.executemany(
                f"insert or replace into trees ({', '.join(names)}) values ({marks})",  # noqa: S608 - our own names
                ([row[name] for name in names] for row in rows),
            )

    def page(self, query: TreeQuery) -> dict[str, Any]:
        """The rows of a query, how many match and are there, and the cursor behind the last one."""
        where, values = query.where()
        after, behind = query.after()
        order = ORDERS[query.order]
        shown = ", ".join(name for name in ROW if name != "prompt")
        with self._lock:
            rows = self._base.execute(
                f"select {shown}, substr(prompt, 1, {SHOWN_CHARS}) as prompt, {order} as sort_value from trees "  # noqa: S608
                f"where {where} and {after} order by {order} {query.direction}, place {query.direction} limit ?",
                [*values, *behind, query.limit + 1],
            ).fetchall()
            matching = self._base.execute(f"select count(*) from trees where {where}", values).fetchone()[0]  # noqa: S608
            total = self._base.execute("select count(*) from trees").fetchone()[0]
        more = len(rows) > query.limit
        rows = rows[: query.limit]
        cursor = query.next_cursor(rows[-1]["sort_value"], rows[-1]["place"]) if more else ""
        items = [{name: row[name] for name in row.keys() if name != "sort_value"} for row in rows]  # noqa: SIM118
        return {"items": items, "matching": matching, "total": total, "cursor": cursor}

    def values(self, column: str) -> list[str]:
        """What a column of words has in it, for filters."""
        if column not in ROW:
            raise ValueError(column)
        with self._lock:
            found = self._base.execute(f"select distinct {column} from trees order by 1 limit 100")  # noqa: S608
            return [row[0] for row in found if row[0]]

    def totals(self, run_id: str) -> dict[str, Any]:
        """Sums over a run's trees."""
        with self._lock:
            row = self._base.execute(
                "select count(*) as trees, sum(status = 'complete') as complete, sum(status = 'partial') as partial, "
                "sum(status = 'failed') as failed, sum(status = 'filtered') as filtered, sum(n_leaves) as leaves, "
                "sum(spent) as spent, sum(wasted_tokens) as wasted, sum(nodes) as nodes, "
                "sum(n_scored > 0 and spread = 0) as no_signal, sum(n_scored > 0) as scored, "
                "sum(mean_reward * n_scored) as rewards, sum(n_scored) as scored_leaves "
                "from trees where run_id = ?",
                [run_id],
            ).fetchone()
        return {name: row[name] or 0 for name in row.keys()}  # noqa: SIM118

    def tasks(self, query: TaskQuery) -> dict[str, Any]:
        """Sums over the trees of each of a run's tasks: a page of them, and how many there are."""
        way = query.direction
        by = f"order by {TASK_ORDERS[query.order]} {way} nulls last, task_id {way} limit ? offset ?"
        with self._lock:
            rows = self._base.execute(
                "select task_id, count(*) as trees, sum(status in ('growing', 'waiting')) as unfinished, "  # noqa: S608
                "sum(status = 'failed') as failed, sum(n_leaves) as leaves, sum(n_scored) as scored_leaves, "
                "sum(mean_reward * n_scored) / nullif(sum(n_scored), 0) as mean_reward, min(min_reward) as min_reward, "
                "max(max_reward) as max_reward, max(max_reward) - min(min_reward) as spread, "
                "sum(n_scored > 0 and spread = 0) as no_signal, sum(spent) as spent, sum(wasted_tokens) as wasted, "
                f"sum(wall_s) as seconds from trees where run_id = ? group by task_id {by}",
                [query.run, query.limit, query.skip],
            ).fetchall()
            total = self._base.execute("select count(distinct task_id) from trees where run_id = ?", [query.run])
            return {"items": [dict(row) for row in rows], "total": total.fetchone()[0]}

    def close(self) -> None:
        """Forget all."""
        self._base.close()
