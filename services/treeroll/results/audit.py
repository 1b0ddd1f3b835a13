"""The promises that can be checked on the rows of a directory: the twin of the audit of a live store."""

import json
import math
from collections.abc import Iterator
from itertools import groupby, pairwise, zip_longest
from pathlib import Path
from typing import Any

from treeroll.invariants import Finding, Invariant
from treeroll.records.column import DType
from treeroll.records.fields import NODE_COLUMNS, PER_TOKEN, SAMPLE_COLUMNS
from treeroll.results.directory import ResultDir
from treeroll.results.reader import ResultReader

Row = dict[str, Any]

# Weights of boundary leaves are products of fractions.
TOLERANCE = 1e-9

# What promises are about: all but the texts of tasks and models.
_TEXTS = (DType.TEXT, DType.JSON)
_AUDITED = {
    "nodes": [column.name for column in NODE_COLUMNS if column.dtype not in _TEXTS],
    "samples": [column.name for column in SAMPLE_COLUMNS if column.dtype not in _TEXTS],
}
# Per-token columns that a sample may do without.
_OPTIONAL = {"entropies", "advantages"}


def audit_directory(path: Path) -> tuple[str, list[Finding]]:
    """What was looked at, and every broken promise. One tree at a time is in memory."""
    reader = ResultReader.existing(path)
    findings: list[Finding] = []
    counts = dict.fromkeys(("trees", "samples", "nodes", "tasks without a sample"), 0)
    rows = reader.rows("trees")
    tasks: dict[str, str] = {}
    for nodes, samples in zip_longest(_trees(reader, "nodes"), _trees(reader, "samples")):
        if nodes is None or samples is None or nodes[0]["tree_id"] != samples[0]["tree_id"]:
            there = (nodes or samples or [{}])[0].get("tree_id")
            findings.append(
                (Invariant.NO_ACKED_LOSS, f"from tree {there} on, samples and nodes are not of the same trees")
            )
            break
        findings += _row_findings(rows, nodes, samples, counts)
        counts["nodes"] += len(nodes)
        counts["samples"] += len(samples)
        findings += _task_findings(samples, tasks)
        findings += tree_findings(nodes, samples)
    else:
        findings += _row_findings(rows, [], [], counts)
    findings += _summary_findings(ResultDir(path).summary, counts)
    return ", ".join(f"{count} {what}" for what, count in counts.items()), findings


def _trees(reader: ResultReader, kind: str) -> Iterator[list[Row]]:
    for _, rows in groupby(reader.rows(kind, _AUDITED[kind]), key=lambda row: row["tree_id"]):
        yield list(rows)


def _row_findings(
    rows: Iterator[Row], nodes: list[Row], samples: list[Row], counts: dict[str, int]
) -> Iterator[Finding]:
    """Trees up to the one that nodes and samples are of: those before it have none. Without any, all that are left."""
    wanted = samples[0]["tree_id"] if samples else None
    for row in rows:
        yield from _account_findings(row)
        if row["tree_id"] == wanted:
            counts["trees"] += 1
            yield from _same_tree_findings(row, nodes, samples)
            return
        counts["tasks without a sample"] += 1
        if row["status"] not in ("failed", "filtered") or row["n_leaves"] or row["wasted_tokens"] != row["spent"]:
            yield (
                Invariant.NO_ACKED_LOSS,
                f"tree {row['tree_id']} is {row['status']}, and none of its samples are there",
            )
    if wanted is not None:
        yield Invariant.NO_ACKED_LOSS, f"tree {wanted} has samples and no row of its own"


def _account_findings(row: Row) -> Iterator[Finding]:
    if row["granted"] != row["spent"] + row["returned"] or not 0 <= row["wasted_tokens"] <= row["spent"]:
        yield (
            Invariant.TOKENS_CONSERVED,
            f"tree {row['tree_id']}: granted {row['granted']} is not spent {row['spent']} + returned "
            f"{row['returned']}, or {row['wasted_tokens']} wasted are not among those spent",
        )


def _same_tree_findings(row: Row, nodes: list[Row], samples: list[Row]) -> Iterator[Finding]:
    where = f"tree {row['tree_id']}"
    told = {name: samples[0][name] for name in ("task_id", "epoch", "status", "n_scored", "n_censored", "model")}
    if different := [name for name in told if told[name] != row[name]] + ["n_leaves"] * (
        row["n_leaves"] != len(samples)
    ):
        yield Invariant.NO_ACKED_LOSS, f"{where} has other {', '.join(different)} in its row than in its samples"
    kept = sum(_sampled(node) for node in nodes if node["depth"] and node["n_leaves"])
    if row["spent"] - row["wasted_tokens"] != kept:
        yield Invariant.TOKENS_CONSERVED, f"{where}: {kept} of its tokens are in samples, its row says otherwise"


def _sampled(node: Row) -> int:
    return int(len(node["token_ids"]) - node["inserted_tokens"] - node["observation_tokens"])


def _task_findings(samples: list[Row], tasks: dict[str, str]) -> Iterator[Finding]:
    """Every task has one tree; `tasks` collects them."""
    tree_id = samples[0]["tree_id"]
    for key in {f"{row['epoch']}:{row['task_id']}" for row in samples}:
        if key in tasks:
            yield Invariant.DELIVERED_ONCE_ACKED, f"task {key} has trees {tasks[key]} and {tree_id}"
        tasks[key] = tree_id


def tree_findings(nodes: list[Row], samples: list[Row]) -> Iterator[Finding]:
    """Promises of one tree."""
    known: dict[str, Row] = {}
    for node in nodes:
        if node["node_id"] in known:
            yield Invariant.TREE_WELL_FORMED, f"node {node['node_id']} is there twice"
        yield from _node_findings(node, known)
        known[node["node_id"]] = node
    leaves = [node["node_id"] for node in nodes if node["status"] == "leaf"]
    if sorted(leaves) != sorted(row["sample_id"] for row in samples):
        yield (
            Invariant.NO_ACKED_LOSS,
            f"tree {nodes[0]['tree_id']} has {len(leaves)} leaves and {len(samples)} samples, or others",
        )
    for index, sample in enumerate(samples):
        yield from _sample_findings(sample, index, len(samples), known)
    yield from _value_findings(nodes, samples)
    weight = math.fsum(row["path_weight"] for row in samples)
    if weight > 1 + TOLERANCE:
        yield Invariant.TREE_WELL_FORMED, f"tree {nodes[0]['tree_id']}: path weights sum to {weight}"


def _value_findings(nodes: list[Row], samples: list[Row]) -> Iterator[Finding]:
    """A node's value is the mean reward of the scored leaves at or below it."""
    below: dict[str, list[float | None]] = {node["node_id"]: [] for node in nodes}
    for sample in samples:
        for node_id in (nodes[0]["node_id"], *sample["path_node_ids"]):
            below.get(node_id, []).append(sample["reward"])
    for node in nodes:
        rewards = [reward for reward in below[node["node_id"]] if reward is not None]
        mean = math.fsum(rewards) / len(rewards) if rewards else None
        same = node["value"] == mean if None in (node["value"], mean) else math.isclose(node["value"], mean or 0.0)
        if not same or node["n_leaves"] != len(below[node["node_id"]]):
            yield Invariant.REWARD_ONCE, f"node {node['node_id']} has a value or leaf count that its leaves do not give"


def _node_findings(node: Row, known: dict[str, Row]) -> Iterator[Finding]:
    where = f"node {node['node_id']}"
    tokens, logprobs = len(node["token_ids"]), node["logprobs"]
    if node["parent_id"] is None:
        if node["path"] or node["depth"] or node["token_start"] or known:
            yield Invariant.TREE_WELL_FORMED, f"{where} has no parent but is not a root, or not the only one"
        return
    parent = known.get(node["parent_id"])
    if parent is None:
        yield Invariant.TREE_WELL_FORMED, f"{where} comes before its parent {node['parent_id']}, or without it"
        return
    if node["depth"] != parent["depth"] + 1 or node["token_start"] != parent["token_start"] + len(parent["token_ids"]):
        yield Invariant.TREE_WELL_FORMED, f"{where} does not continue its parent's tokens"
    if node["path"] != f"{parent['path']}.{node['sibling_index']}".lstrip("."):
        yield Invariant.TREE_WELL_FORMED, f"{where} has a path that does not follow its parent's"
    if not parent["tin"] < node["tin"] < node["tout"] <= parent["tout"]:
        yield Invariant.TREE_WELL_FORMED, f"{where} has an interval outside its parent's"
    if not tokens or len(logprobs) != tokens or not all(map(math.isfinite, logprobs)):
        yield (
            Invariant.TREE_WELL_FORMED,
            f"{where} has {tokens} tokens, {len(logprobs)} logprobs, or one that is not finite",
        )
    if sum(span["tokens"] for span in node["weight_versions"]) != _sampled(node):
        yield Invariant.TREE_WELL_FORMED, f"{where} has weight versions for another number of tokens"


def _sample_findings(sample: Row, index: int, group_size: int, nodes: dict[str, Row]) -> Iterator[Finding]:
    where = f"sample {sample['sample_id']}"
    path = [nodes[node_id] for node_id in sample["path_node_ids"] if node_id in nodes]
    if not path or len(path) != len(sample["path_node_ids"]) or path[-1]["node_id"] != sample["sample_id"]:
        yield Invariant.TREE_WELL_FORMED, f"{where} has a path with unknown nodes, or to another leaf"
        return
    if path[0]["depth"] != 1 or any(b["parent_id"] != a["node_id"] for a, b in pairwise(path)):
        yield Invariant.TREE_WELL_FORMED, f"{where} has a path that is none in its tree"
    root = nodes.get(path[0]["parent_id"])
    if root is None or sample["prompt_ids"] != root["token_ids"]:
        yield Invariant.TREE_WELL_FORMED, f"{where} has another prompt than its tree"
    for column, own in (("completion_ids", "token_ids"), ("logprobs", "logprobs"), ("entropies", "entropies")):
        if sample[column] != [value for node in path for value in node[own]]:
            yield Invariant.TREE_WELL_FORMED, f"{where}: {column} is not the concatenation of its path"
    starts = [node["token_start"] - path[0]["token_start"] for node in path]
    if sample["path_offsets"] != starts or (sample["index"], sample["group_size"]) != (index, group_size):
        yield Invariant.TREE_WELL_FORMED, f"{where} has wrong offsets, index or group size"
    yield from _credit_findings(sample, where)


def _credit_findings(sample: Row, where: str) -> Iterator[Finding]:
    tokens = len(sample["completion_ids"])
    for column in PER_TOKEN:
        if column not in _OPTIONAL and len(sample[column]) != tokens:
            yield Invariant.TREE_WELL_FORMED, f"{where} has {tokens} tokens but {len(sample[column])} of {column}"
    reward, advantages = sample["reward"], sample["advantages"]
    if (reward is None) == (sample["reward_status"] == "ok") or (reward is not None and not math.isfinite(reward)):
        yield Invariant.REWARD_ONCE, f"{where} has reward {reward} with status {sample['reward_status']}"
    if reward is not None and reward not in [given["value"] for given in sample["rewards"]]:
        yield Invariant.REWARD_ONCE, f"{where} has a reward that no scorer gave"
    if (advantages is None) != (reward is None) or (advantages is not None and len(advantages) != tokens):
        yield Invariant.REWARD_ONCE, f"{where} has a reward without one advantage per token, or the reverse"


def _summary_findings(summary: Path, counts: dict[str, int]) -> Iterator[Finding]:
    if not summary.exists():
        return
    figures = json.loads(summary.read_text())
    for name in ("trees", "samples"):
        if figures[name] != counts[name]:
            yield Invariant.NO_ACKED_LOSS, f"summary.json counts {figures[name]} {name}, there are {counts[name]}"
    if figures["wasted_tokens"] < 0:
        yield (
            Invariant.TOKENS_CONSERVED,
            f"{figures['unique_tokens']} tokens are in samples, {figures['generated_tokens']} were generated",
        )
