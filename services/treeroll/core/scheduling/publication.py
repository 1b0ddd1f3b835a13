"""Weights on their way: staged on every ready replica, then in force for the whole pool at once, then loaded by all.

A refusal while replicas stage changes nothing. Once a version is in force, a replica works again when it has loaded it,
and one that cannot is lost. What a run's trees do meanwhile is its `on_update`.
"""

from dataclasses import replace

from treeroll.core.growth.lifecycle import end_tree
from treeroll.core.model.effects import Effect, FlipWeights, PersistEntry, PersistWeights, StageWeights
from treeroll.core.model.events import WeightsPublished, WeightsReported
from treeroll.core.model.fleet import Replica
from treeroll.core.model.journal import Overtaken
from treeroll.core.model.live_tree import LiveTree
from treeroll.core.model.pool import Pool, names
from treeroll.core.model.run import Run
from treeroll.core.model.state import State
from treeroll.core.model.weights import OnUpdate, Order, Phase, Publication, Weights, WeightsAnswer
from treeroll.core.scheduling.queues import requeue
from treeroll.errors import InvalidInput, PublicationBusy, UnknownPool, VersionTooOld, WeightsConflict

# A replica to be lost, and why.
Loss = tuple[Replica, str]
STALE = "stale"


def pool_named(state: State, name: str) -> Pool:
    """The pool, where "" is also the only one; UnknownPool for another."""
    if name == "" and len(state.pools) == 1:
        return next(iter(state.pools.values()))
    try:
        return state.pools[name]
    except KeyError:
        raise UnknownPool(f"there is no pool '{name}': the service serves {names(state.pools)}") from None


def publish(state: State, event: WeightsPublished) -> list[Effect]:
    """A trainer has new weights. The same again is a no-op; what cannot be is refused before anything has changed."""
    pool = pool_named(state, event.pool)
    if _is_known(pool, event):
        return []
    weights = Weights(event.version, event.path, event.digest)
    pool.weights.publication = Publication(weights, event.wall, started=state.now, since=state.now)
    for replica in pool.members:  # what is left of an attempt that was refused may have had other content
        if not replica.lags:
            replica.weights.staged = None
            if replica.weights.order is not None:
                replica.weights.order.void = True
    return [PersistWeights(pool), *_go_on(state, pool)]


def _is_known(pool: Pool, event: WeightsPublished) -> bool:
    """Whether this very publication is there already. Raises for one that cannot be."""
    ledger, where = pool.weights, f"weights version {event.version} of pool '{pool.name}'"
    if event.version < 1 or not event.path.startswith("/"):
        raise InvalidInput(f"{where} needs a version of 1 or more and an absolute path, not {event.path!r}")
    publication, current = ledger.publication, ledger.current
    for known in (current, *([publication.weights] if publication else [])):
        if known.version == event.version:
            same = event.digest == known.digest if event.digest and known.digest else event.path == known.path
            if same:
                return True
            raise WeightsConflict(
                f"{where} was published from {known.path} with digest {known.digest or 'unknown'}; publish other "
                "weights under a higher version"
            )
    if event.version < current.version:
        raise VersionTooOld(
            f"{where} is not above the current version {current.version}; publish under a higher one, earlier weights "
            "too"
        )
    if publication is not None:
        raise PublicationBusy(
            f"{where} cannot be published: version {publication.weights.version} is still {publication.phase}; wait "
            "for its end"
        )
    return False


def joined(state: State, replica: Replica, loaded: Weights) -> list[Effect]:
    """A replica said what it holds, when it came or after a reconnect: what it was told before is told again."""
    pool, holding = state.pools[replica.model], replica.weights
    current = pool.weights.current
    if loaded.version != holding.loaded.version or not holding.since:
        holding.since = state.now
    holding.loaded, holding.staged, holding.order = loaded, None, None
    lags = loaded.version != current.version
    if lags != replica.lags:
        _set_lag(state, pool, replica, lags)
    return _go_on(state, pool)


def start_over(state: State, pool: Pool, why: str) -> list[Effect]:
    """The pool has no replica, and will have those of another model: as they were started with."""
    effects = _refuse(state, pool, why)
    pool.weights.current = Weights()
    return [*effects, PersistWeights(pool)]


def check_holds(pool: str, current: Weights, replica_id: str, loaded: Weights) -> None:
    """InvalidInput for weights that a pool with these in force has never had: no order could bring the replica back."""
    same = loaded.digest in ("", current.digest) or not current.digest
    if loaded.version > current.version or (loaded.version == current.version and not same):
        raise InvalidInput(
            f"replica {replica_id} holds weights version {loaded.version} with digest {loaded.digest or 'unknown'}, "
            f"but its pool '{pool}' has version {current.version} with digest {current.digest or 'unknown'}; "
            "restart it"
        )


def excuses(replica: Replica) -> bool:
    """Whether weights are why the replica was lost, as far as anybody can say, and not what grew on it."""
    order = replica.weights.order
    return replica.lags or (order is not None and order.void)


def gone(state: State, pool: Pool) -> list[Effect]:
    """A replica was lost, or is to end: nothing waits for it."""
    return _go_on(state, pool)


def take(state: State, replica: Replica, event: WeightsReported) -> tuple[list[Effect], str]:
    """A replica answers an order. Returns also why the replica must be lost, if it must."""
    pool, holding = state.pools[replica.model], replica.weights
    order, staged = holding.order, event.answer is WeightsAnswer.STAGED
    if order is None or order.weights.version != event.version or (order.flip and staged):
        return [], ""  # of an earlier call, and told again since
    holding.order, holding.seconds, holding.error = None, event.seconds, event.error
    if order.void:
        return _go_on(state, pool), ""
    path = order.weights.path
    error = event.error if event.answer is WeightsAnswer.REFUSED else _pin(pool, path, event)
    if error:
        holding.error = error
        return _refused(state, pool, replica, event.version, error)
    held = Weights(event.version, path, event.digest)
    if not staged:
        holding.loaded, holding.since = held, state.now
        if event.version == pool.weights.current.version:
            _set_lag(state, pool, replica, False)
    else:
        holding.staged = held
    return _go_on(state, pool), ""


def _pin(pool: Pool, path: str, event: WeightsReported) -> str:
    """What is wrong with the digest that a replica has read; the first one holds for all if the trainer gave none."""
    wanted = pool.weights.wanted(event.version)
    if wanted is None or not event.digest:
        return ""
    if wanted.digest:
        return "" if event.digest == wanted.digest else f"{path} has digest {event.digest}, not {wanted.digest}"
    pinned = replace(wanted, digest=event.digest)
    if (publication := pool.weights.publication) is not None and publication.weights == wanted:
        publication.weights = pinned
    if pool.weights.current == wanted:
        pool.weights.current = pinned
    return ""


def _refused(state: State, pool: Pool, replica: Replica, version: int, error: str) -> tuple[list[Effect], str]:
    if pool.weights.on_its_way(version):
        return _refuse(state, pool, f"replica {replica.replica_id} refuses it: {error}"), ""
    if version == pool.weights.current.version:
        return [], f"it cannot take weights version {version}, which is in force: {error}"
    return _go_on(state, pool), ""


def _refuse(state: State, pool: Pool, error: str) -> list[Effect]:
    """The version on its way does not come."""
    publication = pool.weights.publication
    if publication is None:
        return []
    publication.error = f"weights version {publication.weights.version} of pool '{pool.name}' is refused: {error}"
    return [*_end(state, pool, publication, Phase.REFUSED), *_go_on(state, pool)]


def _end(state: State, pool: Pool, publication: Publication, phase: Phase) -> list[Effect]:
    publication.phase, publication.seconds = phase, state.now - publication.started
    publication.awaited.clear()
    publication.loading.clear()
    pool.weights.history.append(publication)
    pool.weights.publication = None
    return [PersistWeights(pool)]


def _go_on(state: State, pool: Pool) -> list[Effect]:
    """Whatever can happen now does: the publication's next phase, and orders to replicas that have answered."""
    effects: list[Effect] = []
    publication = pool.weights.publication
    if publication is not None and publication.phase in (Phase.STAGING, Phase.WAITING):
        ready = [replica for replica in pool.members if not replica.rests]
        if ready and all(_has_staged(replica, publication.weights) for replica in ready):
            effects += _all_staged(state, pool, publication)
    if publication is not None and publication.phase is Phase.FLIPPING and _all_loaded(pool, publication):
        effects += _end(state, pool, publication, Phase.DONE)
    for replica in pool.members:
        if replica.weights.order is None:
            effects += _next_order(state, pool, replica)
    return effects


def _all_loaded(pool: Pool, publication: Publication) -> bool:
    """Whether a replica works with what is in force, and none is still on its way to it that worked before."""
    members = pool.members
    awaited = [replica for replica in members if replica.lags and _key(replica) in publication.loading]
    return not awaited and any(not replica.lags for replica in members)


def _key(replica: Replica) -> tuple[str, int]:
    return replica.replica_id, replica.incarnation


def _has_staged(replica: Replica, weights: Weights) -> bool:
    staged = replica.weights.staged
    return staged is not None and (staged.version, staged.path) == (weights.version, weights.path)


def _next_order(state: State, pool: Pool, replica: Replica) -> list[Effect]:
    """What the replica must do next: come to the version in force, then have the next one at hand."""
    ledger, publication = pool.weights, pool.weights.publication
    if replica.lags:
        wanted, flip = ledger.current, _has_staged(replica, ledger.current)
    elif publication is not None and not _has_staged(replica, publication.weights):
        wanted, flip = publication.weights, False
    else:
        return []
    replica.weights.order = Order(wanted, flip, state.now)
    if flip:
        recompute = publication is not None and publication.recompute
        return [FlipWeights(*_key(replica), wanted.version, recompute)]
    return [StageWeights(*_key(replica), wanted)]


def _all_staged(state: State, pool: Pool, publication: Publication) -> list[Effect]:
    """Every ready replica has it at hand: it comes into force, now or when some trees have ended."""
    effects: list[Effect] = []
    if publication.phase is Phase.STAGING:
        publication.phase, publication.since = Phase.WAITING, state.now
        publication.awaited = {live.tree_id for live in _growing(state, pool) if _finishes_first(live.run)}
        effects.append(PersistWeights(pool))
    if _still_awaited(state, publication):
        state.updates_wait = True
        return effects
    return effects + _flip(state, pool, publication)


def _still_awaited(state: State, publication: Publication) -> bool:
    """Whether a tree that has to end first still grows; those that do not are looked at once."""
    while publication.awaited:
        tree_id = publication.awaited.pop()
        live = state.trees.get(tree_id)
        if live is not None and not live.grown:
            publication.awaited.add(tree_id)
            return True
    return False


def go_on_waiting(state: State) -> list[Effect]:
    """Trees may have ended that weights wait for."""
    state.updates_wait = False
    effects: list[Effect] = []
    for pool in state.pools.values():
        effects += _go_on(state, pool)
    return effects


def held_back(state: State, run: Run) -> bool:
    """Whether the run starts no tree for now: weights wait until those that it has have ended."""
    return _finishes_first(run) and any(
        pool.weights.publication is not None and pool.weights.publication.phase is Phase.WAITING
        for pool in state.pools.values()
        if _uses(run, pool)
    )


def _finishes_first(run: Run) -> bool:
    return run.spec.on_update is OnUpdate.FINISH_FIRST


def _uses(run: Run, pool: Pool) -> bool:
    return pool.name in run.spec.pools


def _growing(state: State, pool: Pool) -> list[LiveTree]:
    """Trees that grow in the pool, or may have branches there."""
    return [
        live
        for live in state.trees.values()
        if not live.grown and (live.task.model == pool.name or pool.name in live.run.spec.branch.needs.models)
    ]


def _flip(state: State, pool: Pool, publication: Publication) -> list[Effect]:
    """The version is in force: trees do what their runs say, and no replica works before it has loaded it."""
    trees, ledger = _growing(state, pool), pool.weights
    effects: list[Effect] = []
    for live in trees:
        if live.sampled_by is None and live.task.model == pool.name and len(live.tree.nodes) > 1:
            live.sampled_by = ledger.current.version
            effects.append(PersistEntry.of(live, Overtaken(live.sampled_by)))
    ledger.current, publication.phase, publication.since = publication.weights, Phase.FLIPPING, state.now
    publication.recompute = any(live.run.spec.on_update is OnUpdate.RECOMPUTE for live in trees)
    effects.append(PersistWeights(pool))
    for live in trees:
        if why := _too_old(live, pool):
            live.run.counters.stale_trees += 1
            effects += end_tree(state, live, STALE, why)
    queues = [replica.queue for replica in pool.members]
    for replica in pool.members:
        if not replica.rests:
            publication.loading.add(_key(replica))
        if not replica.lags:
            _set_lag(state, pool, replica, True)
    for queue in queues:
        requeue(state, queue)
    return effects


def _set_lag(state: State, pool: Pool, replica: Replica, lags: bool) -> None:
    """Whether the replica takes work changes. A ward keeps its place, and what it has to do."""
    with pool.changing(replica):
        replica.lags = lags
    replica.moved_at = state.now


def _too_old(live: LiveTree, pool: Pool) -> str:
    """Why the tree ends now that the pool has other weights, "" if it goes on."""
    spec, version = live.run.spec, pool.weights.current.version
    arrival = f"weights version {version} came"
    if spec.on_update is OnUpdate.STOP:
        return f"{arrival} and the run's on_update is stop"
    if spec.on_update is OnUpdate.FINISH_FIRST:
        return f"{arrival} before the tree had ended, and the time for that was over"
    if live.sampled_by is not None and spec.staleness is not None and live.task.model == pool.name:
        behind = version - live.sampled_by
        if spec.staleness.hopeless(behind):
            return f"{arrival}, tokens of the tree are {behind} behind, and max_staleness is {spec.staleness.versions}"
    return ""


def overdue(state: State) -> tuple[list[Effect], list[Loss]]:
    """Waits that have lasted too long end: versions that are not staged are refused, replicas that do not load lost."""
    effects: list[Effect] = []
    losses: list[Loss] = []
    for pool in state.pools.values():
        for replica in pool.members:
            order = replica.weights.order
            if order is None or state.now - order.at <= _limit(state, order):
                continue
            late = f"it has not {'loaded' if order.flip else 'staged'} weights version {order.weights.version} within"
            why = f"{late} {_limit(state, order):g} s"
            if pool.weights.on_its_way(order.weights.version) and not order.void:
                order.void, order.at = True, state.now  # an answer is still due
                effects += _refuse(state, pool, f"replica {replica.replica_id}: {why}")
            else:
                losses.append((replica, why))
        effects += _overdue_phase(state, pool)
    return effects, losses


def _overdue_phase(state: State, pool: Pool) -> list[Effect]:
    publication, settings = pool.weights.publication, state.settings
    if publication is None:
        return []
    waited_s = state.now - publication.since
    if publication.phase is Phase.STAGING and waited_s > settings.stage_s and all(r.rests for r in pool.members):
        return _refuse(state, pool, f"no replica was ready to stage it within {settings.stage_s:g} s")
    if publication.phase is Phase.WAITING and waited_s > settings.finish_s:
        publication.awaited.clear()
        return _go_on(state, pool)
    return []


def _limit(state: State, order: Order) -> float:
    return state.settings.load_s if order.flip else state.settings.stage_s
