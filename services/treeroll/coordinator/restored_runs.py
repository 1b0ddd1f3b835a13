"""A run from its stored record: what `records.stored_run` wrote, read back by a coordinator that starts."""

from collections.abc import Mapping
from dataclasses import replace

from treeroll import clock
from treeroll.coordinator.journal_records import now_of
from treeroll.core.model.ledger import Ledger
from treeroll.core.model.run import Counters, Run, RunSpec, RunState
from treeroll.core.model.token_bucket import MILLION
from treeroll.core.scheduling.runs import opened
from treeroll.pb.v1 import common_pb2 as pb
from treeroll.pb.v1 import rollout_pb2 as api
from treeroll.pb.v1 import store_pb2 as stored

_COUNTERS = tuple(Counters.__dataclass_fields__)


def restored_run(record: api.Run, spec: RunSpec, tasks: Mapping[str, tuple[str, str]]) -> Run:
    """The run as it was when its record was written, but that nothing of it runs: what was reserved is given back.

    `tasks` is its task index: key -> (tree id, digest).
    """
    memory = stored.RunMemory.FromString(record.memory)
    run = opened(replace(spec, owner=record.owner), now_of(record.created), record.created)
    run.state, run.tasks = RunState(record.state), dict(tasks)
    run.counters = Counters(**{name: getattr(record, name) for name in _COUNTERS})
    run.finished, run.failed = record.finished, record.failed
    run.filtered.update(record.filtered)
    run.fed = record.finished + record.failed + run.filtered.total()
    run.failing, run.failure = memory.failing, memory.failure
    run.stop_reason, run.stop_detail = record.stop_reason, record.stop_detail
    run.engine_error, run.policy_error = record.engine_error, record.policy_error
    run.quarantined = list(record.quarantined)
    if record.HasField("deadline"):
        run.deadline, run.ends_at = record.deadline, now_of(record.deadline)
    run.charged, run.ended, run.ended_tokens = memory.charged, memory.ended, memory.ended_tokens
    _restore_accounts(run, record, memory)
    _restore_uses(run, record, memory)
    return run


def _restore_accounts(run: Run, record: api.Run, memory: stored.RunMemory) -> None:
    _restore(run.ledger, record.ledger)
    spent = {cap.resource: cap.spent for cap in record.caps}
    for ledger in run.counts:
        ledger.granted = ledger.spent = spent[ledger.key]
    for costs, recent in ((run.costs, memory.costs), (run.leaf_costs, memory.leaf_costs)):
        for taken in recent:
            costs.add(taken)
    if run.bucket is not None and memory.HasField("bucket_level"):
        level = memory.bucket_level + record.ledger.outstanding * MILLION
        used = run.ledger.spent - run.ledger.excess
        run.bucket.restore(level, now_of(memory.bucket_at), used, clock.monotonic())


def _restore(ledger: Ledger, told: pb.Ledger) -> None:
    ledger.granted, ledger.spent, ledger.excess = told.granted, told.spent, told.excess
    ledger.returned = told.returned + told.outstanding


def _restore_uses(run: Run, record: api.Run, memory: stored.RunMemory) -> None:
    for told in record.models:
        if (use := run.uses.get(told.model)) is not None:
            use.trees, use.tokens = told.trees, told.tokens
    for more in memory.models:
        if (use := run.uses.get(more.model)) is not None:
            use.whole, use.whole_tokens = more.whole, more.whole_tokens
