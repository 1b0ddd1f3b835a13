"""TreeView: one tree as `inspect` shows it, from a live service or from a result directory."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from types import SimpleNamespace
from typing import Any

from treeroll.errors import InvalidInput
from treeroll.records.fields import TREE_COLUMNS, TreeRow
from treeroll.results.reader import ResultReader


@dataclass(frozen=True, slots=True)
class LeafView:
    """What a leaf came to."""

    reward: float | None
    reward_status: str
    advantage: float | None
    """The advantage of the leaf's last token."""
    path_weight: float


@dataclass(slots=True)
class NodeView:
    """One node and what hangs below it."""

    path: str
    tokens: int
    given: int
    """How many of them nobody sampled: inserted by the branch policy, or appended by a tool."""
    logprob_sum: float
    text: str
    status: str
    stop_reason: str
    branch_reason: str
    leaf: LeafView | None
    children: list["NodeView"] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class TreeView:
    """A tree with its task."""

    tree_id: str
    task_id: str | None
    status: str | None
    prompt: str
    answer: str | None
    root: NodeView
    nodes: int
    unique_tokens: int
    """Generated tokens of all nodes."""
    sample_tokens: Sequence[int]
    rewards: Sequence[float | None]
    row: TreeRow | None = None
    """What became of it."""
    records: Sequence[Mapping[str, Any]] = ()
    """Its nodes as they are recorded."""


def build(nodes: Sequence[Any], samples: Sequence[Any], row: TreeRow | None = None) -> TreeView:
    """From nodes and samples, records or rows alike: whatever has their columns as attributes."""
    leaves = {sample.sample_id: _leaf(sample) for sample in samples}
    views = {node.node_id: _node(node, leaves.get(node.node_id)) for node in nodes}
    roots = [views[node.node_id] for node in nodes if node.parent_id is None]
    if len(roots) != 1:
        raise InvalidInput(f"the tree has {len(roots)} roots; `treeroll audit` says more")
    for node in sorted(nodes, key=lambda node: node.sibling_index):
        if node.parent_id is not None and node.parent_id in views:
            views[node.parent_id].children.append(views[node.node_id])
    first = samples[0] if samples else None
    return TreeView(
        tree_id=nodes[0].tree_id,
        task_id=first.task_id if first else None,
        status=first.status if first else None,
        prompt=roots[0].text,
        answer=first.answer if first else None,
        root=roots[0],
        nodes=len(nodes),
        unique_tokens=sum(view.tokens - view.given for view in views.values()) - roots[0].tokens,
        sample_tokens=[len(sample.completion_ids) for sample in samples],
        rewards=[sample.reward for sample in samples],
        row=row,
        records=[vars(node) if hasattr(node, "__dict__") else _columns(node) for node in nodes],
    )


def _columns(node: Any) -> dict[str, Any]:
    """The columns of a node's record, as they are."""
    return {name: getattr(node, name) for name in node.__slots__}


def _node(node: Any, leaf: LeafView | None) -> NodeView:
    return NodeView(
        path=node.path,
        tokens=len(node.token_ids),
        given=node.inserted_tokens + node.observation_tokens,
        logprob_sum=float(sum(node.logprobs)),
        text=node.text,
        status=node.status,
        stop_reason=node.stop_reason,
        branch_reason=node.branch_reason,
        leaf=leaf,
    )


def _leaf(sample: Any) -> LeafView:
    advantages = sample.advantages
    has_any = advantages is not None and len(advantages) > 0
    return LeafView(
        reward=sample.reward,
        reward_status=sample.reward_status,
        advantage=float(advantages[-1]) if has_any else None,
        path_weight=sample.path_weight,
    )


def from_service(address: str, tree_id: str) -> TreeView:
    """A tree of a live service. UnknownTree, Unavailable."""
    from treeroll.cli.reach import reach

    with reach(address) as client:
        tree = client.get_tree(tree_id)
    view = build(tree.nodes, tree.samples, tree.row())
    known = {"task_id": tree.task_id, "status": tree.status, "prompt": tree.prompt_text, "answer": tree.answer}
    return TreeView(**{name: known.get(name, getattr(view, name)) for name in TreeView.__slots__})


def from_results(reader: ResultReader, wanted: str | None) -> TreeView:
    """A tree of a result directory that has samples, as `find` finds it."""
    row = find(reader, wanted)
    nodes = [SimpleNamespace(**row) for row in reader.rows_of_tree("nodes", row.tree_id)]
    samples = [SimpleNamespace(**row) for row in reader.rows_of_tree("samples", row.tree_id)]
    if not nodes:
        raise InvalidInput(f"tree {row.tree_id} has samples but no nodes; `treeroll audit --from` says more")
    return build(nodes, samples, row)


def find(reader: ResultReader, wanted: str | None) -> TreeRow:
    """What became of a tree, by its id or its beginning or by task id; without any, of an interesting one."""
    if wanted is None:
        wanted = _interesting(reader)
    rows = _rows(reader)
    if named := [row for row in rows if wanted in (row.tree_id, row.task_id)]:
        return named[-1]
    begins = {row.tree_id: row for row in rows if row.tree_id.startswith(wanted)}
    if not begins:
        raise InvalidInput(f"there is no tree or task '{wanted}' here")
    if len(begins) > 1:
        some = ", ".join(list(begins)[:3])
        raise InvalidInput(f"'{wanted}' is the beginning of {len(begins)} trees: {some} ...; give more of it")
    return next(iter(begins.values()))


def listed(reader: ResultReader, order: str | None) -> list[TreeRow]:
    """What became of every task, most of `order` first; as trees ended without one."""
    keys: dict[str, Callable[[TreeRow], float]] = {
        "wasted": lambda row: row.wasted_tokens,
        "tokens": lambda row: row.spent,
        "seconds": lambda row: row.wall_s,
        "leaves": lambda row: row.n_leaves,
    }
    rows = _rows(reader)
    return rows if order is None else sorted(rows, key=keys[order], reverse=True)


def _rows(reader: ResultReader) -> list[TreeRow]:
    missing: dict[str, Any] = dict.fromkeys(
        column.name for column in TREE_COLUMNS
    )  # of results that are older than a column
    return [TreeRow(**{**missing, **row}) for row in reader.rows("trees")]


def _interesting(reader: ResultReader) -> str:
    """The tree with the most different texts among those with better and worse leaves; else the first one."""
    best: tuple[int, str] | None = None
    columns = ("tree_id", "reward", "completion_text")
    for tree_id, leaves in groupby(reader.rows("samples", columns), key=lambda row: row["tree_id"]):
        rows = list(leaves)
        rewards = {row["reward"] for row in rows if row["reward"] is not None}
        variety = len({row["completion_text"] for row in rows}) if len(rewards) > 1 else 0
        if best is None or variety > best[0]:
            best = (variety, str(tree_id))
    if best is None:
        raise InvalidInput("there is no tree here")
    return best[1]
