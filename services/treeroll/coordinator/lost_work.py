"""What a store that went back in time has lost, for people: the runs as they were acknowledged beside what is there."""

from collections.abc import Mapping

from treeroll.errors import StoreError
from treeroll.pb.v1 import rollout_pb2 as api
from treeroll.store.base import Store


async def losses(store: Store, acknowledged: Mapping[str, bytes]) -> str:
    """One phrase about all runs whose last acknowledged record is not what the store has."""
    try:
        stored = {run_id: await store.load_run(run_id) for run_id in acknowledged}
    except StoreError as error:
        return f"unknown ({error})"
    gone = [
        _loss(api.Run.FromString(record), stored[run_id])
        for run_id, record in sorted(acknowledged.items())
        if stored[run_id] != record
    ]
    return "; ".join(gone) or "nothing that a run's record tells"


def _loss(had: api.Run, record: bytes | None) -> str:
    has = api.Run() if record is None else api.Run.FromString(record)
    ended = _ended(had) - _ended(has)
    tasks, tokens = had.submitted - has.submitted, had.ledger.spent - has.ledger.spent
    whole = "all" if record is None else "part"
    return f"{whole} of run '{had.run_id}' ({tasks} tasks, {ended} trees that had ended, {tokens} tokens)"


def _ended(run: api.Run) -> int:
    return run.finished + run.failed + sum(run.filtered.values())
