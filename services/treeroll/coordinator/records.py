"""From core objects to stored and sent records, and back to whole trees. The only file that knows both sides.

Node records are written once and never change; what depends on the whole tree (paths, intervals, values, "open" status)
is computed when a tree is assembled.
"""

import struct
from collections.abc import Iterable
from dataclasses import asdict, fields
from functools import lru_cache
from typing import Any

import numpy as np

from treeroll.coordinator.journal_records import seen, wall_of
from treeroll.core.growth.credit import TreeShape, credit_leaves, rewards_of
from treeroll.core.model.effects import PersistNode
from treeroll.core.model.events import EndKind
from treeroll.core.model.ledger import Ledger
from treeroll.core.model.live_tree import Credit, LiveTree, TreeStatus
from treeroll.core.model.run import Run, TaskSpec
from treeroll.core.model.token_bucket import MILLION
from treeroll.pb.v1 import common_pb2 as pb
from treeroll.pb.v1 import rollout_pb2 as api
from treeroll.pb.v1 import store_pb2 as stored
from treeroll.policy.base import AdvantageEstimator
from treeroll.records.assemble import write_values
from treeroll.records.why import node_ended_by, node_why, why_record
from treeroll.records.wire import encode_node
from treeroll.sampling import Sampling
from treeroll.tree.node import BranchReason, Decision, NodeStatus, Observation, Origin, StopReason

CLIENT_SCORER = "client"
# Fields of a run's Sampling that are in the header of its trees.
RECORDED = frozenset(pb.Tree.DESCRIPTOR.fields_by_name)
EMPTY = Observation(b"", "")
# What an origin says of its nodes that records say, too.
_OF_ORIGIN = [part.name for part in fields(Origin) if part.name in pb.Node.DESCRIPTOR.fields_by_name]


def run_record(run: Run) -> api.Run:
    """State and figures of a run, but for `drained`, which is the service's state."""
    counters = run.counters
    return api.Run(
        run_id=run.spec.run_id,
        config_json=run.spec.config_json,
        created=run.created,
        state=run.state.value,
        submitted=len(run.tasks),
        waiting=len(run.waiting),
        growing=run.growing + (0 if run.window is None else len(run.window.held)),
        finished=run.finished,
        failed=run.failed,
        leaves=counters.leaves,
        ledger=_ledger(run.ledger),
        wasted_tokens=counters.wasted_tokens,
        late_tokens=counters.late_tokens,
        dropped_tokens=counters.dropped_tokens,
        pruned_tokens=counters.pruned_tokens,
        censored_tokens=counters.censored_tokens,
        scored_trees=counters.scored_trees,
        trees_without_signal=counters.trees_without_signal,
        effective_leaves=counters.effective_leaves,
        cached_tokens=counters.cached_tokens,
        recomputed_tokens=counters.recomputed_tokens,
        forks=counters.forks,
        regrants=counters.regrants,
        lost_tokens_max=counters.lost_tokens_max,
        reward_errors=counters.reward_errors,
        fork_recomputed_tokens=counters.fork_recomputed_tokens,
        fork_requests=counters.fork_requests,
        caps=[_cap(ledger) for ledger in (run.ledger, *run.counts) if ledger.cap is not None],
        stop_reason=run.stop_reason,
        stop_detail=run.stop_detail,
        deadline=run.deadline,
        engine_errors=counters.engine_errors,
        engine_error=run.engine_error,
        policy_errors=counters.policy_errors,
        policy_error=run.policy_error,
        quarantined=run.quarantined,
        stale_trees=counters.stale_trees,
        damaged=counters.damaged,
        filtered=dict(run.filtered),
        models=[api.ModelUse(model=name, trees=use.trees, tokens=use.tokens) for name, use in run.uses.items()],
        owner=run.spec.owner,
    )


def stored_run(run: Run) -> bytes:
    """The record of a run as it is stored: with what only a coordinator that starts has to know of it."""
    record = run_record(run)
    record.memory = _memory(run).SerializeToString()
    return record.SerializeToString()


def _memory(run: Run) -> stored.RunMemory:
    memory = stored.RunMemory(
        charged=run.charged,
        ended=run.ended,
        ended_tokens=run.ended_tokens,
        failing=run.failing,
        failure=run.failure,
        costs=run.costs.recent,
        leaf_costs=run.leaf_costs.recent,
        models=[
            stored.ModelMemory(model=name, whole=use.whole, whole_tokens=use.whole_tokens)
            for name, use in run.uses.items()
        ],
        fingerprint=run.spec.fingerprint,
        ground=run.spec.ground,
        pools=run.spec.pools,
    )
    if run.bucket is not None:
        memory.bucket_level, memory.bucket_at = run.bucket.level, wall_of(run.bucket.at / MILLION)
    return memory


def _cap(ledger: Ledger) -> api.Cap:
    return api.Cap(resource=ledger.key, limit=ledger.cap, spent=ledger.spent, outstanding=ledger.outstanding)


def _ledger(ledger: Ledger) -> pb.Ledger:
    return pb.Ledger(
        granted=ledger.granted,
        spent=ledger.spent,
        returned=ledger.returned,
        outstanding=ledger.outstanding,
        excess=ledger.excess,
    )


def task_header(run: Run, task: TaskSpec, tokenizer_hash: str, logprobs_mode: str) -> pb.Tree:
    """Header of a tree that has not started."""
    header = pb.Tree(
        tree_id=task.tree_id,
        run_id=run.spec.run_id,
        task_id=task.task_id,
        epoch=task.epoch,
        prompt_text=task.prompt_text,
        status=TreeStatus.WAITING.value,
        **_recorded(run.spec.sampling),
        logprobs_mode=logprobs_mode,
        tokenizer_hash=tokenizer_hash,
        extra_json=task.extra_json,
        allotted_leaves=task.leaves,
        model=task.model,
        number=task.number,
        seen=seen(task.view),
        submitted_at=task.submitted_at,
        allotted_by=why_record(task.allotted_by),
    )
    if task.answer is not None:
        header.answer = task.answer
    return header


@lru_cache(maxsize=256)
def _recorded(sampling: Sampling) -> dict[str, Any]:
    """Once for each run, not for each of its trees, twice."""
    return {name: value for name, value in asdict(sampling).items() if name in RECORDED}


def root_record(task: TaskSpec) -> bytes:
    """The prompt as node 0."""
    root = pb.Node(token_ids=task.prompt_ids, text=task.prompt_text, status=NodeStatus.INNER.value)
    root.branch_reason, root.decision = BranchReason.PROMPT.value, Decision.BOUNDARY.value
    return root.SerializeToString()


def final_header(live: LiveTree, header: pb.Tree) -> pb.Tree:
    """Header of a tree that ended, with its account and credit."""
    header.status, header.stop_reason, header.error = live.status.value, live.stop_reason, live.error
    header.dropped_by = live.dropped_by
    header.wall_s, header.weight_version = live.ended_at - live.planted_at, live.weight_version
    header.ended_at = wall_of(live.ended_at)
    if live.boundaries:  # else it never started
        header.started_at = header.ended_at - header.wall_s
    header.n_nodes, header.most_leaves = len(live.tree.nodes), live.most_leaves
    header.late_tokens, header.dropped_tokens = live.late_tokens, live.dropped_tokens
    header.pruned_tokens, header.censored_tokens = live.pruned_tokens, live.censored_tokens
    header.replicas.extend(sorted({node.replica_id for node in live.tree.nodes} - {""}))
    header.ledger.CopyFrom(_ledger(live.ledger))
    header.n_censored = live.n_censored
    header.path_ends.extend(pb.PathEnd(node=end.node, why=why_record(end.why)) for end in live.path_ends)
    header.lost_tokens_max = live.lost_tokens_max
    header.has_cuts = bool(live.tree.splits)
    errors = {leaf for leaf, value in live.tree.rewards.items() if value is None} - live.abstained
    write_credit(header, live.credit, rewards_of(live), errors)
    return header


def write_credit(header: pb.Tree, credits: list[Credit], rewards: dict[int, float], errors: set[int]) -> None:
    """Replace the header's leaf credit."""
    del header.leaves[:]
    header.leaves.extend(_credit(credit, rewards, errors) for credit in credits)
    header.n_scored = sum(leaf.reward_status == "ok" for leaf in header.leaves)


def _credit(credit: Credit, rewards: dict[int, float], errors: set[int]) -> pb.LeafCredit:
    leaf = pb.LeafCredit(leaf=credit.leaf, path_weight=credit.path_weight)
    if credit.leaf in rewards:
        leaf.reward, leaf.reward_status = rewards[credit.leaf], "ok"
        leaf.advantages = struct.pack(f"<{len(credit.advantages)}d", *credit.advantages)
    else:
        leaf.reward_status = "error" if credit.leaf in errors else "missing"
    return leaf


def node_record(effect: PersistNode) -> bytes:
    """A finished segment; its report's payload is what the replica wrote of it (Segment.node).

    Serialised messages that follow each other are one message: what many nodes have in common is serialised once.
    """
    node, report = effect.node, effect.report
    common = _common(node.origin, node.status, node.stop_reason, report.end)
    text, payload = report.text, report.payload
    content = node.content
    if content.inserted is not None or content.observation is not None:
        text, payload = _surrounded(text, payload, content.inserted or EMPTY, content.observation or EMPTY)
    record = encode_node(
        node.number,
        node.parent,
        node.depth,
        node.sibling_index,
        node.token_start,
        text,
        payload,
        common,
    )
    if report.cached_tokens is not None or report.dropped_tokens:
        record += _rare(effect)
    if effect.why is not None:
        record += node_why(effect.why)
    if effect.ended_by is not None:
        record += node_ended_by(effect.ended_by)
    return record


def _surrounded(text: str, payload: bytes, before: Observation, behind: Observation) -> tuple[str, bytes]:
    """Text and the replica's part of a node, with what nobody sampled before and behind its tokens."""
    record = pb.Node.FromString(payload)
    record.token_ids = before.ids + record.token_ids + behind.ids
    record.logprobs = bytes(len(before.ids)) + record.logprobs + bytes(len(behind.ids))
    if record.entropies:
        record.entropies = bytes(len(before.ids)) + record.entropies + bytes(len(behind.ids))
    record.inserted_tokens, record.observation_tokens = before.n_tokens, behind.n_tokens
    record.observation_chars = len(behind.text)
    return before.text + text + behind.text, record.SerializeToString()


def _rare(effect: PersistNode) -> bytes:
    """The part of a node's record that most nodes do not have."""
    node, report = effect.node, effect.report
    record = pb.Node(dropped_tokens=report.dropped_tokens)
    if report.cached_tokens is not None:
        record.cached_tokens = report.cached_tokens
        record.recomputed_tokens = node.token_start + node.own.start - report.cached_tokens
        record.waited_s, record.masked_by = effect.waited_s, effect.masked_by
    return record.SerializeToString()


@lru_cache(maxsize=4096)
def _common(origin: Origin, status: NodeStatus, stop_reason: StopReason, end: EndKind | None) -> bytes:
    """The part of a node's record that it has in common with many."""
    of_origin = {name: getattr(origin, name) for name in _OF_ORIGIN}
    record = pb.Node(status=status, stop_reason=stop_reason, end=end or "", **of_origin)
    return record.SerializeToString()


def reward_key(node: int, scorer: str, version: int) -> str:
    """Key of a reward in its tree: one effective reward per (node, scorer, version)."""
    return f"{node}:{scorer}:{version}"


def reward_record(scorer: str, version: int, value: float | None, error: str) -> bytes:
    """A reward, or why there is none."""
    reward = pb.Reward(scorer=scorer, version=version, error=error)
    if value is not None:
        reward.value = value
    return reward.SerializeToString()


def shape_of(tree: pb.Tree) -> TreeShape:
    """Shape of an assembled tree; its leaves are in path order because its nodes are."""
    by_number = sorted(tree.nodes, key=lambda node: node.number)
    return TreeShape(
        [node.parent for node in by_number],
        [_weightless(node) for node in by_number],
        [len(node.token_ids) // 4 - node.inserted_tokens - node.observation_tokens for node in by_number],
        [_sum(node.logprobs) for node in by_number],
        [node.number for node in tree.nodes if node.status == NodeStatus.LEAF.value],
        [node.group for node in by_number],
    )


def _weightless(node: pb.Node) -> bool:
    """As core.tree.Node.weightless, but for parts of a split node, of which the first alone says what is inserted."""
    own = any(map(node.HasField, ("temperature", "max_tokens", "model"))) or node.inserted_tokens > 0
    return own or node.decision == Decision.RETROSPECTIVE.value


def _sum(logprobs: bytes) -> float:
    """Sum of little-endian float32 values, added one by one as the replica does: equal to what it reported."""
    return float(sum(np.frombuffer(logprobs, "<f4").tolist()))


def recredit(tree: pb.Tree, scorer: str | None, estimator: AdvantageEstimator) -> None:
    """Credit again from the rewards in force: those of the run's scorer, else written back by the client."""
    rewards: dict[int, float] = {}
    errors: set[int] = set()
    for node in tree.nodes:
        reward = in_force(node.rewards, scorer)
        if reward is not None and reward.HasField("value"):
            rewards[node.number] = reward.value
        elif reward is not None:
            errors.add(node.number)
    write_credit(tree, credit_leaves(shape_of(tree), rewards, estimator), rewards, errors)
    write_values(tree)


def in_force(rewards: Iterable[pb.Reward], scorer: str | None) -> pb.Reward | None:
    """The reward that counts: newest version by the run's scorer, or by the client if the run has none."""
    name = scorer or CLIENT_SCORER
    return max((r for r in rewards if r.scorer == name), key=lambda r: r.version, default=None)


def header_of(tree: pb.Tree) -> bytes:
    """The part of an assembled tree that is stored as its header.

    Field by field: a copy of a large tree, whose nodes would be thrown away, is one step of the interpreter for which
    the event loop waits.
    """
    header = pb.Tree()
    for descriptor, value in tree.ListFields():
        if descriptor.name == "nodes":
            continue
        if descriptor.is_repeated:
            getattr(header, descriptor.name).extend(value)
        elif descriptor.message_type is not None:
            getattr(header, descriptor.name).CopyFrom(value)
        else:
            setattr(header, descriptor.name, value)
    return header.SerializeToString()
