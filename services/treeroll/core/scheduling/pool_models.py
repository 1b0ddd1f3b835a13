"""Which model a pool is. Its first replica says so, and it stays so until no run grows with it and no replica has it.

Trees that one model has begun are never another's to go on with, whoever coordinates.
"""

from treeroll.core.model.effects import Effect, PersistModel
from treeroll.core.model.events import ReplicaJoined
from treeroll.core.model.pool import Pool
from treeroll.core.model.pool_model import PoolModel
from treeroll.core.model.state import State
from treeroll.core.scheduling import publication
from treeroll.errors import InvalidInput

# Runs that a sentence names.
NAMED = 3


def is_new(state: State, pool: Pool, event: ReplicaJoined) -> bool:
    """Whether the replica says anew what its pool is. InvalidInput if that is another, and the known one is needed."""
    said, known = event.serves, pool.model
    if known is None or known.holds(said):
        return known is None
    runs = users(state, pool)
    if known.is_same(said):
        if runs:
            raise InvalidInput(_too_short(pool, known, event, runs))
    elif any(replica.replica_id != event.replica_id for replica in pool.members):
        copy = "copy the same model to both, or end the other replicas of the pool before this one joins"
        raise InvalidInput(f"{_other(pool, known, event)}: {copy}")
    elif runs:
        raise InvalidInput(
            f"{_other(pool, known, event)} said, which {_told(runs)}: start replicas with that model, or {_end(runs)} "
            "to have another one"
        )
    return True


def take(state: State, pool: Pool, event: ReplicaJoined, anew: bool) -> list[Effect]:
    """The replica has joined. Of another model than before, nothing is in force that was published for that."""
    known = pool.model
    pool.model = event.serves if anew or known is None else known.and_longer(event.serves)
    if pool.model == known:
        return []
    effects: list[Effect] = [PersistModel(pool)]
    if known is not None and not known.is_same(event.serves):
        effects += publication.start_over(state, pool, f"the pool has another model now, {event.serves.told(known)}")
    return effects


def users(state: State, pool: Pool) -> list[str]:
    """Runs that have not ended and may have branches in the pool, in order."""
    growing = [name for name, run in state.runs.items() if not run.has_ended and pool.name in run.spec.pools]
    waiting = [name for name, pools in state.suspended.items() if not pools or pool.name in pools]
    return sorted([*growing, *waiting])


def _other(pool: Pool, known: PoolModel, event: ReplicaJoined) -> str:
    said = event.serves
    return (
        f"{_who(event)} serves {said.told(known)}, but {_name(pool)} has {known.told(said)}, as replica "
        f"{known.replica_id} on {known.host or 'an unknown host'}"
    )


def _too_short(pool: Pool, known: PoolModel, event: ReplicaJoined, runs: list[str]) -> str:
    return (
        f"{_who(event)} has a context of {event.serves.context} tokens, but {_name(pool)} has had {known.context}, "
        f"which {_told(runs)}: set generator.max_model_len to that, or {_end(runs)}"
    )


def _who(event: ReplicaJoined) -> str:
    return f"replica {event.replica_id} on {event.serves.host or 'an unknown host'}"


def _name(pool: Pool) -> str:
    return f"its pool '{pool.name}'" if pool.name else "the fleet"


def _told(runs: list[str]) -> str:
    named = " and ".join(f"'{name}'" for name in runs[:NAMED])
    more = f" and {len(runs) - NAMED} more" if len(runs) > NAMED else ""
    return f"runs {named}{more} grow with" if len(runs) > 1 else f"run {named} grows with"


def _end(runs: list[str]) -> str:
    return f"cancel or delete {'these runs' if len(runs) > 1 else 'this run'}"
