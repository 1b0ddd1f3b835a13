"""New trees: which task is next in a pool with room, and its tree's first branches."""

from dataclasses import replace

from treeroll.core.budget.accounts import open_tree
from treeroll.core.growth.expand import expand
from treeroll.core.growth.lifecycle import settle_tree
from treeroll.core.guard import calls
from treeroll.core.model.effects import Effect, PersistEntry
from treeroll.core.model.fleet import Replica
from treeroll.core.model.journal import Planted
from treeroll.core.model.live_tree import LiveTree
from treeroll.core.model.pool import Pool
from treeroll.core.model.run import Run, TaskSpec
from treeroll.core.model.state import State
from treeroll.core.scheduling.allocation import at_start
from treeroll.core.scheduling.consumers import take_place
from treeroll.core.scheduling.fair_share import charge_start, next_run
from treeroll.core.scheduling.routing import next_task
from treeroll.errors import PolicyFailed
from treeroll.tree.rng import hash64
from treeroll.tree.tree import Tree


def admit_tree(state: State, pool: Pool, freest: Replica, effects: list[Effect]) -> bool:
    """Plant the pool's next task at the replica with the most room among those that can hold a new prefix.

    False if there is none, or no place for it. `freest` has the most room of all in the pool.
    """
    limit = state.settings.live_trees or max(pool.free_slots.slots, len(pool.suspects))
    if state.draining or state.store_full or pool.trees >= limit:
        return False
    run = next_run(state, pool)
    if run is None:
        return False
    hold = state.settings.kv_hold
    replica: Replica | None = freest
    if freest.kv_usage > hold:
        open_ = (r for r in pool.replicas.values() if r.free > 0 and r.kv_usage <= hold)
        replica = max(open_, key=lambda r: (r.free, r.replica_id), default=None)
    if replica is None:
        return False
    while run is not None:
        task, failure = next_task(state, run, pool)
        if task is not None:
            live = plant(state, run, task, replica, failure)
            effects.append(PersistEntry.of(live, _planted(live, replica)))
            if live.active == 0:  # no first branch has room for a token
                effects += settle_tree(state, live)
            return True
        if run.waiting.may_have(pool.name, run.is_far_ahead):  # it sent many elsewhere, and has more to look at
            return False
        run = next_run(state, pool)
    return False


def plant(state: State, run: Run, task: TaskSpec, replica: Replica, failure: PolicyFailed | None = None) -> LiveTree:
    """Start a tree in the replica's pool. Its seed depends on run seed, task and epoch only.

    With a failure of a policy of its run, or without what its policies should say first, it starts nothing.
    """
    if task.model != replica.model:
        task = replace(task, model=replica.model)
    if failure is None:
        task, failure = at_start(state, run, task)
    state.order += 1
    live = seedling(state, run, task, replica.block_size, replica.max_model_len)
    live.admitted, live.home, live.planted_at = state.order, replica.replica_id, state.now
    if failure is not None:
        calls.break_tree(state, live, failure)
    live.weight_version = state.pools[replica.model].weights.current.version
    live.first_grant = state.next_grant
    take_place(run, live)
    open_tree(live)
    live.ledger.granted = live.ledger.spent = run.carried.pop(live.tree_id, 0)
    charge_start(run, live)
    state.trees[live.tree_id] = live
    state.pools[replica.model].trees += 1
    run.growing += 1
    if live.failure is None:
        expand(state, live, calls.start(state, live))
    return live


def seedling(state: State, run: Run, task: TaskSpec, block_size: int, max_model_len: int) -> LiveTree:
    """A tree that is only its prompt, for replicas of such a block size and context."""
    seed = hash64(run.spec.seed, task.task_id, task.epoch)
    live = LiveTree(run, task, Tree.planted(task.tree_id, seed, len(task.prompt_ids) // 4))
    live.boundaries = _boundaries(state, live, block_size, max_model_len)
    calls.grow(state, live)
    return live


def _planted(live: LiveTree, replica: Replica) -> Planted:
    return Planted(
        live.admitted,
        live.home,
        live.task.model,
        replica.block_size,
        replica.max_model_len,
        live.planted_at,
        live.weight_version,
        live.charge,
        live.promised,
        live.placed,
        live.asked,
        live.task.leaves,
        live.task.view,
        live.first_grant,
        live.task.allotted_by,
    )


def _boundaries(state: State, live: LiveTree, block_size: int, max_model_len: int) -> list[int]:
    """Trees whose prompts are equally long share a list, which is in caches then whatever tree a segment is of."""
    known, prompt_tokens = live.run.boundaries, live.tree.root.n_tokens
    key = prompt_tokens, block_size, min(max_model_len, prompt_tokens + live.run.spec.max_tokens)
    ends = known.get(key)
    if ends is None:
        ends = calls.boundaries(state, live, *key)
        if live.failure is None:
            known[key] = ends
    return ends
