"""A commit as keys and arguments of `commit.lua`, which documents their order. Flat: the store's hot path."""

from collections.abc import Mapping
from itertools import chain, pairwise
from operator import itemgetter

from treeroll.errors import BrokenInvariant
from treeroll.invariants import Invariant
from treeroll.store import keys
from treeroll.store.base import Commit

Arg = str | bytes | int | float

_RECORD = itemgetter(1)


def commit_args(commit: Commit) -> tuple[list[str], list[Arg]]:
    """Keys, and the arguments after the commit's number. BrokenInvariant if a tree's nodes leave one out."""
    script_keys = [keys.OWNER, keys.FEEDS, keys.OPENED, keys.TICKS, keys.HAPPENINGS]
    args: list[Arg] = [commit.happenings, keys.KEPT_HAPPENINGS, commit.ticks_kept, len(commit.ticks)]
    args.extend(chain.from_iterable(commit.ticks.items()))
    _add_anew(commit, script_keys, args)
    _add_nodes(commit, script_keys, args)
    _add_journals(commit, script_keys, args)
    _add_hashes(commit, script_keys, args)
    _add_feed(commit, script_keys, args)
    return script_keys, args


def _add_anew(commit: Commit, script_keys: list[str], args: list[Arg]) -> None:
    args.append(len(commit.anew))
    for tree_id in commit.anew:
        script_keys += (keys.nodes(tree_id), keys.journal(tree_id), keys.rewards(tree_id))


def _add_nodes(commit: Commit, script_keys: list[str], args: list[Arg]) -> None:
    args.append(len(commit.nodes))
    for tree_id, rows in commit.nodes.items():
        script_keys.append(keys.nodes(tree_id))
        first, records = consecutive(tree_id, rows)
        args.append(first)
        args.append(len(records))
        args.extend(records)


def _add_journals(commit: Commit, script_keys: list[str], args: list[Arg]) -> None:
    args.append(len(commit.journal))
    for tree_id, entries in commit.journal.items():
        script_keys.append(keys.journal(tree_id))
        args.append(len(entries))
        args.extend(entries)


def consecutive(tree_id: str, rows: list[tuple[int, bytes]]) -> tuple[int, list[bytes]]:
    """Number of the first node, and all records in order. BrokenInvariant if a number is missing or there twice."""
    if len(rows) == 1:  # with many trees, mostly
        number, record = rows[0]
        return number, [record]
    numbers = [number for number, _ in rows]
    first = min(numbers, default=0)
    if numbers != list(range(first, first + len(rows))):
        rows = sorted(rows, key=itemgetter(0))
        _check_numbers(tree_id, [number for number, _ in rows])
    return first, list(map(_RECORD, rows))


def _check_numbers(tree_id: str, numbers: list[int]) -> None:
    for before, number in pairwise(numbers):
        if number != before + 1:
            raise hole(tree_id, number, before)


def hole(tree_id: str, number: int, before: int) -> BrokenInvariant:
    """The error for a node that would not follow the one before it."""
    return BrokenInvariant(Invariant.TREE_WELL_FORMED, f"node {number} of tree {tree_id} would follow node {before}")


def changed(tree_id: str, number: int) -> BrokenInvariant:
    """The error for a node that is stored with other content."""
    return BrokenInvariant(
        Invariant.TREE_WELL_FORMED,
        f"node {number} of tree {tree_id} is in the store with other content: two growths of the tree would be mixed, "
        "so nothing of the commit was written",
    )


def _add_hashes(commit: Commit, script_keys: list[str], args: list[Arg]) -> None:
    """Runs, weights, models, sessions, tree headers, rewards, tasks and their history are all fields of hashes."""
    count_at = len(args)
    before = len(script_keys)
    args.append(0)
    if commit.runs:
        _add_hash(keys.RUNS, commit.runs, script_keys, args)
    if commit.weights:
        _add_hash(keys.WEIGHTS, commit.weights, script_keys, args)
    if commit.models:
        _add_hash(keys.MODELS, commit.models, script_keys, args)
    if commit.sessions:
        _add_hash(keys.SESSIONS, commit.sessions, script_keys, args)
    for tree_id, header in commit.trees.items():
        _add_hash(keys.tree(tree_id), {keys.HEADER: header}, script_keys, args)
    for tree_id, records in commit.rewards.items():
        _add_hash(keys.rewards(tree_id), records, script_keys, args)
    for run_id, tasks in commit.tasks.items():
        values = {key: f"{digest} {tree_id}" for key, (tree_id, digest) in tasks.items()}
        _add_hash(keys.tasks(run_id), values, script_keys, args)
    for run_id, history in commit.history.items():
        _add_hash(keys.history(run_id), history, script_keys, args)
    for run_id, parts in commit.memory.items():
        _add_hash(keys.memory(run_id), parts, script_keys, args)
    args[count_at] = len(script_keys) - before


def _add_hash(key: str, fields: Mapping[str, str | bytes], script_keys: list[str], args: list[Arg]) -> None:
    script_keys.append(key)
    args.append(2 * len(fields))
    args.extend(chain.from_iterable(fields.items()))


def _add_feed(commit: Commit, script_keys: list[str], args: list[Arg]) -> None:
    args.append(len(commit.feed))
    for run_id, tree_id in commit.feed:
        script_keys += (keys.tree(tree_id), keys.feed(run_id), keys.journal(tree_id))
        args += (run_id, tree_id)
