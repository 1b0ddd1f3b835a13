"""The trees of a store: a row for each in an index, kept up with the feed, and one at a time whole."""

import json
import threading
import time
from collections.abc import Callable
from typing import Any

import pyarrow as pa

from treeroll.client.columns import nodes_table, samples_table, trees_table
from treeroll.client.records import TreeRecord
from treeroll.dashboard.index import CAUSES, PROMPT_CHARS, TreeIndex
from treeroll.dashboard.poller import Poller
from treeroll.dashboard.sources.tree_tables import TreeTables
from treeroll.errors import UnknownTree
from treeroll.pb.v1 import common_pb2 as pb
from treeroll.records.assemble import assemble

# Trees that grow which are looked at for a list: of a run with more the first.
GROWING = 500
# A list is as old as this at most.
LOOK_AGAIN_S = 2.0
# Places of growing trees in lists are behind those of ended ones: their order is that of their ids.
_GROWING_PLACE = 1 << 50
# Rows that are read for one answer; a list of more says how far it has come.
AT_ONCE = 5000

_ENDED = frozenset({"complete", "partial", "failed", "filtered"})


class LiveTrees:
    """Reads headers of trees as they end; a list costs what is new."""

    def __init__(self, poller: Poller, runs: Callable[[], list[str]]) -> None:
        self.index = TreeIndex()
        self._poller = poller
        self._runs = runs
        self._lock = threading.Lock()
        self._looked_at = float("-inf")
        self._upto: dict[str, int] = {}
        self._places = 0
        self._ended: set[str] = set()
        self._growing: set[str] = set()
        self.behind = False
        """Whether there are more ended trees than have been read."""

    def refresh(self) -> None:
        """Take up what is new. StoreError."""
        with self._lock:
            if time.monotonic() - self._looked_at < LOOK_AGAIN_S:
                return
            read = 0
            self.behind = False
            for run_id in self._runs():
                read += self._take_ended(run_id, AT_ONCE - read)
                if read >= AT_ONCE:
                    self.behind = True
                    break
                self._take_growing(run_id)
            self._looked_at = float("-inf") if self.behind else time.monotonic()

    def _take_ended(self, run_id: str, most: int) -> int:
        taken = 0
        while taken < most:
            page = self._poller.ask(self._poller.reader.ended(run_id, self._upto.get(run_id, 0)))
            if not page:
                break
            self._upto[run_id] = page[-1][0]
            self._put([tree_id for _, tree_id in page], ended=True)
            taken += len(page)
        return taken

    def _take_growing(self, run_id: str) -> None:
        planted = self._poller.ask(self._poller.reader.planted(run_id))
        growing = [tree_id for tree_id in planted if tree_id not in self._ended][:GROWING]
        self._put(growing, ended=False)

    def _put(self, tree_ids: list[str], *, ended: bool) -> None:
        reader = self._poller.reader
        headers = self._poller.ask(reader.headers(tree_ids))
        counts = self._poller.ask(reader.counts(tree_ids))
        rows: list[dict[str, Any]] = []
        for tree_id, header, count in zip(tree_ids, headers, counts, strict=True):
            if header is None:  # has not started, or is gone
                continue
            if ended:
                self._ended.add(tree_id)
                self._growing.discard(tree_id)
                self._places += 1
            else:
                self._growing.add(tree_id)
            place = self._places if ended else _GROWING_PLACE + int(tree_id[:10], 16)
            rows.append(_row(pb.Tree.FromString(header), place, count))
        self.index.put(rows)

    def tables(self, tree_id: str) -> TreeTables:
        """One tree as it is now. UnknownTree."""
        stored = self._poller.ask(self._poller.reader.tree(tree_id))
        if stored is None:
            raise UnknownTree(f"the store has no tree {tree_id}: it has not started, has expired, or never was")
        tree = TreeRecord.from_proto(assemble(stored))
        tables = {"nodes": nodes_table(tree.nodes), "samples": samples_table(tree.samples)}

        def read(kind: str, columns: list[str]) -> pa.Table | None:
            table = tables[kind]
            return table.select(columns) if table.num_rows else None

        [row] = trees_table([tree.row()]).to_pylist()
        growing = tree.status not in _ENDED
        row["status"] = "growing" if growing else tree.status
        return TreeTables(row, read, growing=growing, prompt=tree.prompt_text)


def _row(tree: pb.Tree, place: int, nodes: int) -> dict[str, Any]:
    rewards = [leaf.reward for leaf in tree.leaves if leaf.HasField("reward")]
    ended = tree.status in _ENDED
    going_on = "growing" if nodes > 1 else "waiting"  # the prompt is stored when its task is submitted
    return {
        "place": place,
        "tree_id": tree.tree_id,
        "run_id": tree.run_id,
        "task_id": tree.task_id,
        "epoch": tree.epoch,
        "status": tree.status if ended else going_on,
        "stop_reason": tree.stop_reason,
        "error": tree.error,
        "model": tree.model,
        "nodes": nodes,
        "n_leaves": len(tree.leaves),
        "n_scored": tree.n_scored,
        "n_censored": tree.n_censored,
        "spent": tree.ledger.spent,
        **{name: getattr(tree, name) if ended else None for name in CAUSES},
        "wasted_tokens": sum(getattr(tree, name) for name in CAUSES) if ended else None,
        "wall_s": tree.wall_s,
        "mean_reward": sum(rewards) / len(rewards) if rewards else None,
        "min_reward": min(rewards, default=None),
        "max_reward": max(rewards, default=None),
        "spread": max(rewards) - min(rewards) if rewards else None,
        "min_version": tree.weight_version,
        "max_version": None,
        "replicas": json.dumps(list(tree.replicas)),
        "prompt": tree.prompt_text[:PROMPT_CHARS],
    }
