"""Stored trees that have not left, as the core takes them to grow them again."""

from array import array
from collections.abc import Sequence
from dataclasses import replace

from treeroll.coordinator.journal_records import entry_of, view_of
from treeroll.core.model.events import EndKind, SegmentReported
from treeroll.core.model.journal import Carried, Entry, Planted
from treeroll.core.model.live_tree import LiveTree, TreeStatus
from treeroll.core.model.run import Run, TaskSpec
from treeroll.core.recovery.remains import Damaged, NodeRemains, TreeRemains
from treeroll.pb.v1 import common_pb2 as pb
from treeroll.pb.v1 import store_pb2 as stored
from treeroll.records.why import why_of
from treeroll.store.base import StoredTree
from treeroll.tree.node import NodeStatus, StopReason
from treeroll.tree.tree import Tree

BYTES = 4  # of a token id, a logprob or an entropy


def header_of(tree: StoredTree) -> pb.Tree:
    """The header alone."""
    return pb.Tree.FromString(tree.header)


def task_of(header: pb.Tree, tree: StoredTree, digest: str) -> TaskSpec:
    """The task that a stored tree is of; `digest` is that of the run's task index."""
    root = pb.Node.FromString(tree.nodes[0])
    task = TaskSpec(
        task_id=header.task_id,
        epoch=header.epoch,
        tree_id=header.tree_id,
        prompt_ids=root.token_ids,
        prompt_text=header.prompt_text,
        digest=digest,
        answer=header.answer if header.HasField("answer") else None,
        extra_json=header.extra_json,
        leaves=header.allotted_leaves,
        model=header.model,
        number=header.number,
        submitted_at=header.submitted_at,
        allotted_by=why_of(header.allotted_by) if header.HasField("allotted_by") else None,
    )
    return replace(task, view=view_of(header.seen, task)) if header.HasField("seen") else task


def remains_of(run: Run, task: TaskSpec, tree: StoredTree, journal: Sequence[bytes]) -> TreeRemains | int:
    """A tree that has started; one that is yet to start, or to grow anew, is what it has spent before."""
    records = [stored.JournalEntry.FromString(entry) for entry in journal]
    entries = [(record.nodes, entry_of(record, task)) for record in records]
    carried = 0
    if entries and isinstance(first := entries[0][1], Carried):
        carried = first.tokens
        del entries[0]
    if not entries:
        return carried
    _, planted = entries.pop(0)
    if not isinstance(planted, Planted):
        raise Damaged(f"the journal of tree {task.tree_id} does not begin with its start")
    return TreeRemains(task, planted, _history(run, tree.nodes, entries), _rewards(run, tree), carried)


def _history(run: Run, nodes: Sequence[bytes], entries: list[tuple[int, Entry]]) -> list[NodeRemains | Entry]:
    """Nodes and entries as they came: an entry stands before the node of its number."""
    history: list[NodeRemains | Entry] = []
    rest = iter(entries)
    entry = next(rest, None)
    for number, blob in enumerate(nodes[1:], 1):
        while entry is not None and entry[0] <= number:
            history.append(entry[1])
            entry = next(rest, None)
        history.append(_node(run, blob))
    if entry is not None:
        history += [entry[1], *(late for _, late in rest)]
    return history


def _node(run: Run, blob: bytes) -> NodeRemains:
    node = pb.Node.FromString(blob)
    tokens = len(node.token_ids) // BYTES
    own = slice(BYTES * node.inserted_tokens, BYTES * (tokens - node.observation_tokens))
    logprobs = array("f", node.logprobs[own])
    payload = None
    if run.spec.reads_tokens:
        sampled = pb.Node(token_ids=node.token_ids[own], logprobs=node.logprobs[own], entropies=node.entropies[own])
        payload = sampled.SerializeToString()
    report = SegmentReported(
        node.replica_id,
        node.incarnation,
        0,
        len(logprobs),
        sum(logprobs),
        min(logprobs, default=0.0),
        payload=payload,
        cached_tokens=node.cached_tokens if node.HasField("cached_tokens") else None,
        end=EndKind(node.end) if node.end else None,
        dropped_tokens=node.dropped_tokens,
        cuts=node.HasField("parent_chars"),
    )
    return NodeRemains(
        node.parent,
        node.sibling_index,
        node.token_start,
        tokens,
        node.depth,
        NodeStatus(node.status),
        StopReason(node.stop_reason),
        node.attempt,
        report,
        node.text,
        node.observation_chars,
        node.parent_chars if node.HasField("parent_chars") else None,
    )


def _rewards(run: Run, tree: StoredTree) -> dict[int, float | None]:
    """By the run's scorer; its first version, as those of growing trees are."""
    found = {}
    for key, blob in tree.rewards.items():
        reward = pb.Reward.FromString(blob)
        if reward.scorer == run.spec.scorer and reward.version == 1:
            found[int(key.partition(":")[0])] = reward.value if reward.HasField("value") else None
    return found


def ended_tree(run: Run, task: TaskSpec, header: pb.Tree, *, placed: bool) -> LiveTree:
    """A tree that has ended, and waits for its turn to leave."""
    tree = Tree.planted(task.tree_id, 0, len(task.prompt_ids) // BYTES)
    live = LiveTree(run, task, tree, most_leaves=header.most_leaves, grown=True)
    live.status, live.stop_reason, live.error = TreeStatus(header.status), header.stop_reason, header.error
    live.dropped_by, live.placed = header.dropped_by, placed
    return live
