"""TokensConserved through random histories: crashes, refusals, stops, cuts, cancels, deadlines, and every kind of cap.

Every world checks all invariants after every step: among them, that accounts add up to the token in every tier.
"""

import random
from functools import cache
from typing import Any

import pytest

from treeroll.core.model.budget import Budget, overshoot
from treeroll.core.model.events import RunCancelled
from treeroll.core.model.live_tree import TreeStatus
from treeroll.policies.policies import Policies
from treeroll.policies.resolve import build_policies
from treeroll.policy.base import Limits
from treeroll.simulation.world import World

HISTORIES, CHUNKS = 10_000, 10
LIMITS = Limits(leaves=3, segment_tokens=16, max_depth=2, max_tokens=40)
GROWTHS: list[tuple[str, dict[str, dict[str, Any]]]] = [
    ("treepo", {}),
    ("treepo", {"segment": {"hold": True}}),
    ("flat", {}),
    ("treerl", {"branch": {"chains": 1, "places": 1, "rounds": 1, "forks": 2}}),
    ("treepo", {"segment": {"name": "agent_step"}}),
]


@cache
def growth(number: int) -> Policies:
    recipe, overrides = GROWTHS[number]
    return build_policies(recipe, LIMITS, overrides)


def maybe(chance: random.Random, low: int, high: int) -> int | None:
    return chance.randint(low, high) if chance.random() < 0.3 else None


def random_world(seed: int) -> World:
    chance = random.Random(f"history {seed}")
    number = chance.randrange(len(GROWTHS))
    tools = growth(number).segment.tool is not None
    budget = Budget(
        tokens=maybe(chance, 1, 500),
        leaves=maybe(chance, 1, 8),
        expansions=maybe(chance, 1, 5),
        tool_calls=maybe(chance, 1, 4) if tools else None,
        seconds=chance.uniform(0.1, 6.0) if chance.random() < 0.2 else None,
        deadline=chance.uniform(0.1, 6.0) if chance.random() < 0.1 else None,
        tokens_per_second=maybe(chance, 5, 200),
        burst_tokens=chance.randint(LIMITS.max_tokens, 150),
        task_tokens=maybe(chance, 20, 300),
        tree_tokens=maybe(chance, 20, 200),
    )
    world = World(
        seed=seed,
        replicas=chance.randint(1, 2),
        slots=chance.randint(1, 3),
        end_share=chance.choice((0.003, 0.03, 0.1)),
        budget=budget,
        kill_share=chance.choice((0.0, 0.03, 0.15)),
        max_losses=chance.choice((2, 1000)),
        tasks=chance.randint(1, 2),
        epochs=chance.randint(1, 2),
        policies=growth(number),
        limits=LIMITS,
        overruns=chance.random() < 0.3,
    )
    if chance.random() < 0.2:
        world.later(RunCancelled("run"), chance.uniform(0.0, 4.0))
    return world


def check(world: World) -> None:
    trees, run = world.run(), world.state.runs["run"]
    budget, most = world.budget or Budget(), world.replicas * world.slots
    assert len(trees) == world.tasks * world.epochs == run.finished + run.failed
    for ledger in (run.ledger, *run.counts, *run.task_ledgers.values(), *(live.ledger for live in trees.values())):
        assert ledger.balanced()
        assert ledger.outstanding == 0
        tokens = ledger.key.endswith("tokens")
        assert ledger.cap is None or ledger.spent <= ledger.cap + (overshoot(most) if tokens else 0)
        assert ledger.excess == 0 or (tokens and world.overruns)
    assert run.ledger.spent == sum(live.ledger.spent for live in trees.values())
    assert run.counters.leaves == sum(len(live.tree.leaves) for live in trees.values())
    assert budget.leaves is None or run.counters.leaves <= budget.leaves
    whole = [live for live in trees.values() if live.status is TreeStatus.COMPLETE]
    assert all(not live.stop_reason for live in whole)
    assert all(live.stop_reason and live.error for live in trees.values() if live.status is TreeStatus.PARTIAL)
    state = world.state
    left = (state.trees, state.grants, state.blocked, state.throttled, state.doomed, state.ends)
    assert not any(left), left


@pytest.mark.parametrize("chunk", range(CHUNKS))
def test_accounts_balance_after_every_history(chunk: int) -> None:
    for seed in range(chunk, HISTORIES, CHUNKS):
        try:
            check(random_world(seed))
        except Exception as error:
            raise AssertionError(f"history {seed}: {error}") from error
