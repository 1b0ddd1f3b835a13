"""A pool's weights as records: what is stored, what is read back after a restart, and what clients are told."""

from collections.abc import Iterable
from dataclasses import replace

from treeroll.core.model.fleet import Replica
from treeroll.core.model.pool import Pool
from treeroll.core.model.weights import Phase, PoolWeights, Publication, Weights
from treeroll.pb.v1 import rollout_pb2 as api


def stored(pool: Pool) -> bytes:
    """What must outlive the coordinator."""
    return _ledger(pool).SerializeToString()


def restored(record: bytes, now: float) -> PoolWeights:
    """What an earlier coordinator stored; waits begin anew, at `now`.

    A version that was in force is in force, however few replicas had loaded it. One that was not yet is staged again:
    replicas say it when they come.
    """
    told = api.WeightsStatus.FromString(record)
    ledger = PoolWeights(Weights(told.version, told.path, told.digest))
    ledger.history.extend(_publication(one, now) for one in told.history)
    if told.HasField("publication"):
        ledger.publication = _publication(told.publication, now)
        if ledger.publication.phase is Phase.WAITING:
            ledger.publication.phase = Phase.STAGING
    return ledger


def status(pool: Pool, now: float, wall: float, keep: int) -> api.WeightsStatus:
    """The ledger with its replicas. `now` is `wall`, seconds since the Unix epoch; `keep` versions are kept."""
    told = _ledger(pool)
    told.replicas.extend(_replica(pool, replica, wall - now) for replica in sorted(pool.members, key=_name))
    told.in_use.extend(_in_use(pool, keep))
    return told


def _in_use(pool: Pool, keep: int) -> list[str]:
    """Directories that somebody may have to read, each once, the newest version's first."""
    ledger = pool.weights
    held = [replica.weights for replica in pool.members]
    reading: Iterable[Weights | None] = (
        *(holding.staged for holding in held),
        *(holding.order.weights for holding in held if holding.order is not None),
    )
    loaded = {holding.loaded.version for holding in held}
    past = [one.weights for one in ledger.history if one.phase is Phase.DONE]
    wanted = [ledger.current, *([ledger.publication.weights] if ledger.publication else []), *past[-keep:]]
    wanted += [weights for weights in past if weights.version in loaded]
    wanted += [weights for weights in reading if weights is not None]
    return list(dict.fromkeys(one.path for one in sorted(wanted, key=lambda one: -one.version) if one.path))


def _ledger(pool: Pool) -> api.WeightsStatus:
    ledger = pool.weights
    current, publication = ledger.current, ledger.publication
    return api.WeightsStatus(
        pool=pool.name,
        version=current.version,
        path=current.path,
        digest=current.digest,
        publication=None if publication is None else _record(publication),
        history=map(_record, ledger.history),
    )


def _record(publication: Publication) -> api.PublishedWeights:
    weights = publication.weights
    return api.PublishedWeights(
        version=weights.version,
        path=weights.path,
        digest=weights.digest,
        phase=publication.phase.value,
        published_at=publication.published_at,
        seconds=publication.seconds,
        error=publication.error,
    )


def _publication(told: api.PublishedWeights, now: float) -> Publication:
    publication = Publication(
        Weights(told.version, told.path, told.digest), told.published_at, now, now, Phase(told.phase)
    )
    return replace(publication, seconds=told.seconds, error=told.error)


def _replica(pool: Pool, replica: Replica, to_wall: float) -> api.ReplicaWeights:
    holding = replica.weights
    return api.ReplicaWeights(
        replica_id=replica.replica_id,
        version=holding.loaded.version,
        digest=holding.loaded.digest,
        state=_state(pool, replica),
        since=holding.since + to_wall,
        seconds=holding.seconds,
        error=holding.error,
    )


def _state(pool: Pool, replica: Replica) -> str:
    order, publication = replica.weights.order, pool.weights.publication
    if replica.lags:
        return "loading" if order is not None and order.flip else "behind"
    if order is not None:
        return "staging"
    return "ready" if publication is None or replica.weights.staged is None else "staged"


def _name(replica: Replica) -> str:
    return replica.replica_id
