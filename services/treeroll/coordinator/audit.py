"""The named invariants, checked on a store: what `treeroll audit` runs against a live service or after a crash."""

import asyncio
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

from treeroll.coordinator.audit_caps import Caps
from treeroll.invariants import Finding, Invariant
from treeroll.pb.v1 import common_pb2 as pb
from treeroll.pb.v1 import rollout_pb2 as api
from treeroll.records.assemble import assemble
from treeroll.records.numbers import ANY_ID, wrong_numbers
from treeroll.store.base import Store, StoredTree

# Missing trees that are named; all are counted.
NAMED_TREES = 3
ENDED = ("complete", "partial", "failed", "filtered")


@dataclass(slots=True)
class AuditReport:
    """What was looked at and what was found: (invariant, one sentence)."""

    violations: list[Finding] = field(default_factory=list)
    runs: int = 0
    trees: int = 0
    nodes: int = 0
    vocab_size: int = ANY_ID
    expired: int = 0
    """Trees that are gone because every group has acknowledged them."""


async def audit(store: Store, vocab_size: int = ANY_ID) -> AuditReport:
    """Check every run and tree. Growing ones are checked for what must hold at any moment, ids against `vocab_size`."""
    report = AuditReport(vocab_size=vocab_size)
    for run_id in sorted(await store.run_ids()):
        blob = await store.load_run(run_id)
        if blob is None:
            report.violations.append((Invariant.NO_ACKED_LOSS, f"run {run_id} is listed but has no record"))
            continue
        report.runs += 1
        await _audit_run(store, api.Run.FromString(blob), report)
    return report


async def _audit_run(store: Store, run: api.Run, report: AuditReport) -> None:
    # The feed is read before the trees: what is in it has ended, and stays so while we look.
    feed = Counter(await store.feed_entries(run.run_id))
    tasks = await store.load_tasks(run.run_id)
    ended: set[str] = set()
    missing: set[str] = set()
    spent, caps = 0, Caps.of(run)
    for tree_id, _ in tasks.values():
        stored = await store.load_tree(tree_id)
        if stored is None:
            missing.add(tree_id)
            continue
        tree, found = await asyncio.to_thread(_looked_at, stored, report.vocab_size)
        report.trees += 1
        report.nodes += len(tree.nodes)
        report.violations += found
        report.violations += caps.add(tree)
        spent += tree.ledger.spent
        if tree.status in ENDED:
            ended.add(tree_id)
    # Asked last: whatever was missing before then has expired by then, or its run was deleted.
    report.expired += (expired := await store.expired(run.run_id))
    if missing and await store.load_run(run.run_id) is None:
        return
    if len(missing) > expired:
        named = ", ".join(sorted(missing)[:NAMED_TREES])
        detail = f"run {run.run_id}: {len(missing)} trees are missing and {expired} have expired; missing are {named}"
        report.violations.append((Invariant.NO_ACKED_LOSS, detail))
    known = {tree_id for tree_id, _ in tasks.values()}
    there = Counter({tree_id: times for tree_id, times in feed.items() if tree_id not in missing})
    report.violations += _feed_findings(run, there, ended, known)
    all_ended = run.state != "open" and len(ended) == len(tasks) == _terminal_events(run)
    report.violations += caps.findings(all_ended)
    if all_ended:
        report.violations += _account_findings(run, spent)


def _looked_at(stored: StoredTree, vocab_size: int) -> tuple[pb.Tree, list[Finding]]:
    tree = assemble(stored)
    return tree, list(tree_findings(tree, vocab_size))


def _terminal_events(run: api.Run) -> int:
    return run.finished + run.failed + sum(run.filtered.values())


def _feed_findings(run: api.Run, feed: Counter[str], ended: set[str], known: set[str]) -> Iterator[Finding]:
    for tree_id, times in feed.items():
        if times > 1:
            yield Invariant.DELIVERED_ONCE_ACKED, f"run {run.run_id}: tree {tree_id} has {times} terminal events"
        if tree_id not in known:
            yield Invariant.DELIVERED_ONCE_ACKED, f"run {run.run_id}: tree {tree_id} in the feed belongs to no task"
        elif tree_id not in ended:
            yield Invariant.DELIVERED_ONCE_ACKED, f"run {run.run_id}: tree {tree_id} is in the feed but has not ended"
    if run.state != "open" and run.waiting == run.growing == 0:
        for tree_id in ended - set(feed):
            yield Invariant.DELIVERED_ONCE_ACKED, f"run {run.run_id}: tree {tree_id} ended but is not in the feed"


def _account_findings(run: api.Run, spent: int) -> Iterator[Finding]:
    ledger = run.ledger
    causes = run.late_tokens, run.dropped_tokens, run.pruned_tokens, run.censored_tokens
    if run.wasted_tokens != sum(causes) or run.wasted_tokens > ledger.spent:
        yield (
            Invariant.TOKENS_CONSERVED,
            f"run {run.run_id}: {run.wasted_tokens} tokens are wasted, by cause {causes}, of {ledger.spent} spent",
        )
    if ledger.granted != ledger.spent + ledger.returned + ledger.outstanding or ledger.outstanding:
        yield Invariant.TOKENS_CONSERVED, f"run {run.run_id}: {_line(ledger)}"
    if spent != ledger.spent and not (run.damaged and spent < ledger.spent):  # what nobody can read, nobody can count
        yield Invariant.TOKENS_CONSERVED, f"run {run.run_id}: trees spent {spent} tokens, the run {ledger.spent}"


def tree_findings(tree: pb.Tree, vocab_size: int = ANY_ID) -> Iterator[Finding]:
    """Promises of one tree: shape, tokens, account, rewards."""
    by_number = {node.number: node for node in tree.nodes}
    if sorted(by_number) != list(range(len(tree.nodes))):
        yield Invariant.NO_ACKED_LOSS, f"tree {tree.tree_id}: node numbers have gaps"
        return
    for node in tree.nodes:
        if node.number:
            yield from _node_findings(tree, node, by_number[node.parent], vocab_size)
    if tree.status in ENDED:
        yield from _ended_findings(tree)


def _node_findings(tree: pb.Tree, node: pb.Node, parent: pb.Node, vocab_size: int) -> Iterator[Finding]:
    where = f"tree {tree.tree_id} node '{node.path}'"
    tokens = len(node.token_ids) // 4
    if (node.parent >= node.number and not tree.has_cuts) or node.depth != parent.depth + 1:
        yield Invariant.TREE_WELL_FORMED, f"{where} was written before its parent"
    if node.token_start != parent.token_start + len(parent.token_ids) // 4:
        yield Invariant.TREE_WELL_FORMED, f"{where} does not continue its parent's tokens"
    if not tokens or len(node.logprobs) != len(node.token_ids):
        yield Invariant.TREE_WELL_FORMED, f"{where} has {tokens} tokens and {len(node.logprobs) // 4} logprobs"
    elif wrong := wrong_numbers(node.token_ids, node.logprobs, node.entropies, vocab_size):
        yield Invariant.TREE_WELL_FORMED, f"{where} has {tokens} tokens {wrong}"
    if sum(span.tokens for span in node.weight_versions) != tokens - _unsampled(node):
        yield Invariant.TREE_WELL_FORMED, f"{where} has weight versions for another number of tokens"


def _unsampled(node: pb.Node) -> int:
    return node.inserted_tokens + node.observation_tokens


def _ended_findings(tree: pb.Tree) -> Iterator[Finding]:
    ledger = tree.ledger
    if ledger.granted != ledger.spent + ledger.returned + ledger.outstanding or ledger.outstanding:
        yield Invariant.TOKENS_CONSERVED, f"tree {tree.tree_id}: {_line(ledger)}"
    stored = sum(
        len(node.token_ids) // 4 - _unsampled(node) + node.dropped_tokens for node in tree.nodes if node.number
    )
    if stored > ledger.spent:
        yield (
            Invariant.TOKENS_CONSERVED,
            f"tree {tree.tree_id}: its nodes hold {stored} tokens, {ledger.spent} were spent",
        )
    leaves = {node.number for node in tree.nodes if node.status == "leaf"}
    if {leaf.leaf for leaf in tree.leaves} != leaves:
        yield Invariant.REWARD_ONCE, f"tree {tree.tree_id}: credit is not for exactly its {len(leaves)} leaves"
    if (tree.status == "failed") == bool(leaves):
        yield Invariant.TREE_WELL_FORMED, f"tree {tree.tree_id} is {tree.status} with {len(leaves)} leaves"


def _line(ledger: pb.Ledger) -> str:
    return (
        f"granted {ledger.granted} is not spent {ledger.spent} + returned {ledger.returned} "
        f"+ outstanding {ledger.outstanding} with nothing outstanding"
    )
