"""TreeTables: one tree as rows of records, however they are kept, and the answers that are made of them."""

import json
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from threading import Lock
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from treeroll.client.columns import NODE_SCHEMA, SAMPLE_SCHEMA, TREE_SCHEMA, decisions_table
from treeroll.dashboard.shape import Shape
from treeroll.dashboard.sources.base import TEXT_CHARS, Json
from treeroll.dashboard.sources.finding import MOST_FOUND, ends_of_matches
from treeroll.dashboard.sources.node_table import NODE_COLUMNS, shape_of
from treeroll.errors import InvalidInput, UnknownNode
from treeroll.policies.registry import sentences
from treeroll.records.decision import Decision
from treeroll.results import explain
from treeroll.results.exported import lines

Read = Callable[[str, list[str]], pa.Table | None]
"""Columns of the tree's "nodes" or "samples"; None where it has none."""

# Rows of one tree that stay in memory.
KEPT_BYTES = 256 << 20
# Shapes that are kept: a person goes back and forth between a few trees.
SHAPES = 8

_TEXT_COLUMNS = [
    "node_id",
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
    "why",
    "waited_s",
    "masked_by",
    "status",
    "stop_reason",
    "ended_by",
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
# Of the nodes above one, what says why it is there.
_DECIDED = ("path", "depth", "sibling_index", "branch_reason", "decision", "why")
_LEAF_COLUMNS = ["sample_id", "reward", "reward_status", "path_weight", "advantages", "min_weight_version"]


class Shapes:
    """The last few shapes, by tree and by what may have changed of it."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._kept: OrderedDict[object, Shape] = OrderedDict()

    def get(self, key: object, make: Callable[[], Shape]) -> Shape:
        """The shape, made if it is not there."""
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key]
        made = make()
        with self._lock:
            self._kept[key] = made
            while len(self._kept) > SHAPES:
                self._kept.popitem(last=False)
        return made


class TreeTables:
    """One tree. `row`: what became of it, as in `TreeRow`; `prompt`: for a tree without a sample."""

    def __init__(self, row: Json, read: Read, *, growing: bool = False, prompt: str = "") -> None:
        self._row = row
        self._read = read
        self._growing = growing
        self._prompt = prompt
        self._kept: dict[str, pa.Table | None] = {}
        self.tree_id: str = row["tree_id"]

    def header(self, shape: Shape) -> Json:
        """All but its nodes."""
        samples = self._read("samples", ["prompt_text", "answer", "reward", "extra"])
        first = samples.slice(0, 1).to_pylist()[0] if samples is not None and samples.num_rows else {}
        rewards = [] if samples is None else [value for value in samples["reward"].to_pylist() if value is not None]
        prompt = first.get("prompt_text") or self._prompt
        row = {name: value for name, value in self._row.items() if name != "epoch"}  # answers have the coordinator's
        return {
            **row,
            "task_epoch": self._row["epoch"],
            "prompt": prompt[:TEXT_CHARS],
            "prompt_chars": len(prompt),
            "answer": first.get("answer"),
            "extra": json.loads(first.get("extra") or "{}"),
            "nodes": shape.nodes,
            "words": shape.words,
            "mean_reward": sum(rewards) / len(rewards) if rewards else None,
            "min_reward": min(rewards, default=None),
            "max_reward": max(rewards, default=None),
            "growing": self._growing,
            "why_allotted": explain.allotted(self._row, sentences()),
        }

    def shape(self) -> Shape:
        """Its nodes as columns. InvalidInput for nodes that make no tree."""
        nodes = self._read("nodes", list(NODE_COLUMNS))
        if nodes is None:
            return shape_of(NODE_SCHEMA.empty_table().select(list(NODE_COLUMNS)), {})
        samples = self._read("samples", ["sample_id", "advantages"])
        advantages: dict[str, float] = {}
        if samples is not None:
            pairs = zip(samples["sample_id"].to_pylist(), last_values(samples["advantages"]), strict=True)
            advantages = {sample_id: value for sample_id, value in pairs if value is not None}
        prompt = self._read("nodes", ["token_ids"]) if nodes.num_rows == 1 else None
        prompt_tokens = len(prompt["token_ids"][0]) if prompt is not None else 0
        try:
            return shape_of(nodes, advantages, prompt_tokens)
        except ValueError as error:
            raise InvalidInput(f"tree {self.tree_id}: {error}") from None

    def export(self, decisions: Sequence[Decision]) -> Iterator[bytes]:
        """All of it as lines of a file."""
        tables = {
            "trees": pa.Table.from_pylist([self._row], schema=TREE_SCHEMA),
            "nodes": self._read("nodes", NODE_SCHEMA.names),
            "samples": self._read("samples", SAMPLE_SCHEMA.names),
            "events": decisions_table(decisions),
        }
        return lines(self.tree_id, tables)

    def nodes(self, numbers: Sequence[int], *, whole: bool) -> list[Json]:
        """Nodes by number, with their texts. UnknownNode."""
        table = self._once("nodes", _TEXT_COLUMNS)
        count = table.num_rows if table is not None else 0
        if wrong := [number for number in numbers if not 0 <= number < count]:
            raise UnknownNode(f"tree {self.tree_id} has {count} nodes and no number {wrong[0]}")
        if table is None:
            return []
        found = table.take(pa.array(numbers, pa.int64()))
        leaves = self._leaves(found["node_id"])
        rows = found.to_pylist()
        return [
            {**self._explained(table, row), **_node(number, row, leaves, whole)}
            for number, row in zip(numbers, rows, strict=True)
        ]

    def _explained(self, table: pa.Table, row: Json) -> Json:
        """What was decided about the node, as sentences."""
        names = [path for path in _above(row["path"]) if path != row["path"]]
        steps = table.filter(pc.is_in(table["path"], value_set=pa.array(names, pa.string())))
        kept = [name for name in _DECIDED if name in steps.column_names]
        above = sorted(steps.select(kept).to_pylist(), key=lambda step: step["depth"])
        tree = {**self._row, "growing": self._growing}
        return {
            "why_begun": explain.begun([*above, row], sentences()),
            "why_waited": explain.waited(row),
            "why_ended": explain.ended(row, tree, sentences()),
        }

    def find(self, shape: Shape, wanted: str) -> Json:
        """The nodes in whose texts a match ends, the first of them if they are many."""
        table = self._read("nodes", ["text"])
        texts = [] if table is None else table["text"].to_pylist()
        found = ends_of_matches(shape.columns["parent"].tolist(), texts, wanted)
        return {"items": found[:MOST_FOUND], "matching": len(found)}

    def path(self, shape: Shape, number: int, *, whole: bool) -> list[Json]:
        """The nodes from the root down to one. UnknownNode."""
        if not 0 <= number < shape.nodes:
            raise UnknownNode(f"tree {self.tree_id} has {shape.nodes} nodes and no number {number}")
        numbers = [number]
        while numbers[-1] != 0:
            numbers.append(int(shape.columns["parent"][numbers[-1]]))
        return self.nodes(numbers[::-1], whole=whole)

    def _leaves(self, node_ids: pa.ChunkedArray) -> dict[str, Json]:
        """What those of the nodes that are leaves came to, by node id."""
        samples = self._once("samples", _LEAF_COLUMNS)
        if samples is None:
            return {}
        samples = samples.filter(pc.is_in(samples["sample_id"], value_set=node_ids))
        advantages = last_values(samples["advantages"])
        rows = samples.drop_columns(["advantages"]).to_pylist()
        return {row["sample_id"]: {**row, "advantage": value} for row, value in zip(rows, advantages, strict=True)}

    def _once(self, kind: str, columns: list[str]) -> pa.Table | None:
        """Rows that are asked for again and again while a person reads a tree; too many are read each time."""
        if kind in self._kept:
            return self._kept[kind]
        table = self._read(kind, columns)
        if table is None or table.nbytes <= KEPT_BYTES:
            self._kept[kind] = table
        return table


def last_values(column: pa.ChunkedArray) -> list[float | None]:
    """The last value of every list; None for one that is empty or not there."""
    found: list[float | None] = []
    for array in column.chunks:
        ends = array.offsets.to_numpy()[1:]
        sizes = pc.fill_null(pc.list_value_length(array), 0).to_numpy(zero_copy_only=False)
        found += [array.values[int(end) - 1].as_py() if size else None for end, size in zip(ends, sizes, strict=True)]
    return found


def _above(path: str) -> list[str]:
    """Paths from the prompt's down to this one."""
    steps = path.split(".") if path else []
    return [".".join(steps[:length]) for length in range(len(steps) + 1)]


def _node(number: int, row: Json, leaves: dict[str, Json], whole: bool) -> Json:
    text = row.pop("text")
    leaf: Any = leaves.get(row.pop("node_id"))
    rewards = [{**reward} for reward in row.pop("rewards") or ()]
    shown = text if whole else text[:TEXT_CHARS]
    return {"number": number, **row, "text": shown, "text_chars": len(text), "rewards": rewards, "leaf": leaf}
