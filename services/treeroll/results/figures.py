"""From tables of samples and nodes to the figures of the summary."""

from collections import Counter
from itertools import groupby
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from treeroll.results.summary import Tally, TreeFigures

SAMPLE_COLUMNS = ("tree_id", "status", "reward", "reward_status", "path_weight", "completion_text")


def add_samples(tally: Tally, samples: pa.Table) -> None:
    """Add whole trees of samples."""
    lengths = {
        "prompt": pc.list_value_length(samples["prompt_ids"]),
        "completion": pc.list_value_length(samples["completion_ids"]),
    }
    columns = {name: samples[name] for name in SAMPLE_COLUMNS}
    rows = pa.table({**columns, **lengths}).to_pylist()
    for _, leaves in groupby(rows, key=lambda row: row["tree_id"]):
        tally.add_tree(_tree(list(leaves)))


def _tree(leaves: list[dict[str, Any]]) -> TreeFigures:
    return TreeFigures(
        prompt_tokens=leaves[0]["prompt"],
        completion_tokens=[leaf["completion"] for leaf in leaves],
        rewards=[leaf["reward"] for leaf in leaves],
        path_weights=[leaf["path_weight"] for leaf in leaves],
        reward_errors=sum(leaf["reward_status"] == "error" for leaf in leaves),
        partial=leaves[0]["status"] == "partial",
        distinct=len({leaf["completion_text"] for leaf in leaves}),
    )


def add_nodes(tally: Tally, nodes: pa.Table) -> None:
    """Count the generated tokens of nodes that some sample passes through, and the calls on the paths of samples."""
    sampled = nodes.filter(pc.and_(pc.greater(nodes["depth"], 0), pc.greater(nodes["n_leaves"], 0)))
    given = pc.add(sampled["inserted_tokens"], sampled["observation_tokens"])
    tokens = pc.subtract(pc.list_value_length(sampled["token_ids"]), given)
    tally.unique_tokens += pc.sum(tokens).as_py() or 0
    tally.calls += _calls(nodes)


def _calls(nodes: pa.Table) -> Counter[int]:
    """Leaves by how many calls were answered on their path. Trees are whole, parents come before their children."""
    told = pc.greater(nodes["observation_tokens"], 0)
    leaf = pc.equal(nodes["status"], "leaf")
    if not pc.any(told).as_py():
        return Counter({0: pc.sum(leaf).as_py() or 0})
    calls: dict[str | None, int] = {None: 0}
    found: Counter[int] = Counter()
    columns = (nodes["node_id"], nodes["parent_id"], told, leaf)
    for node_id, parent_id, answered, ended in zip(*(column.to_pylist() for column in columns), strict=True):
        calls[node_id] = calls[parent_id] + answered
        found[calls[node_id]] += ended
    return found
