"""What a decision costs: time spent in branch policies while the real core grows trees of 64 leaves, few and many."""

import time
from array import array
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from treeroll.bench.result import Column, Result
from treeroll.bench.rounds import Figures, Variant, run_rounds
from treeroll.core.tree import Node, Tree
from treeroll.errors import InvalidInput
from treeroll.policies import registry
from treeroll.policies.base import Expansion, Growth, Limits
from treeroll.policies.build import Policies
from treeroll.testing.observed import ObservedPolicy
from treeroll.testing.world import EOS, World

COLUMNS = (
    Column("alone_us", "us/event beside 1 tree", 1),
    Column("crowd_us", "beside the crowd", 1),
    Column("growth", "crowd / 1", 2),
    Column("p99_us", "p99", 1),
    Column("slowest_us", "slowest", 0),
    Column("events", "events/tree", 0),
)
LEAVES = 64
# Two to the depth is the width: full binary trees just fit.
LIMITS: Final = Limits(leaves=LEAVES, segment_tokens=32, max_depth=6, max_tokens=6 * 32)
# Parameters that give each policy 64 leaves; of a policy that is not named here, its defaults.
SHAPES: Final[Mapping[str, Mapping[str, object]]] = {
    "spo": {"fanouts": (4, 4, 4)},
    "treerpo": {"arity": 2},
    "tree_grpo": {"chains": 8, "picks": 7, "rounds": 1},
    "ib_tpo": {"initial": 8, "rounds": 57, "nodes": 1, "forks": 1},
    "deepsearch": {"width": 8, "terminals": 8},
    "treerl": {"chains": 16, "places": 3, "rounds": 1, "forks": 1},
    # As many expansions as leaves allow, however often paths succeed.
    "rest_mcts": {"width": 4, "iterations": 21, "successes": 1024},
    "tree_planner": {"samples": 32, "places": 16, "forks": 2},
}
# One token in so many ends a path: about one segment in eight.
END_EVERY = 256


async def measure(
    names: Sequence[str], trees: int, rounds: int, note: Callable[[str], None], warm_ups: int = 1
) -> Result:
    """Each round grows 2 trees and then `trees` + 1, and times every call of the policy."""
    for name in names:
        _build(name)

    def variant(name: str) -> Variant:
        async def run(number: int) -> Figures:
            return figures(grow(name, 2, number), grow(name, trees + 1, number), trees + 1)

        return run

    measured = await run_rounds({name: variant(name) for name in names}, rounds, note, warm_ups)
    parameters = {"leaves": LEAVES, "max_depth": LIMITS.max_depth, "trees": trees, "policies": list(names)}
    return Result("policies", parameters, measured, COLUMNS)


def grow(name: str, trees: int, seed: int) -> "array[int]":
    """Grow so many trees side by side; nanoseconds of each call of the policy."""
    timed = TimedPolicy(_build(name))
    segment = registry.build("segment", "fixed", {"hold": timed.needs_hold}, LIMITS)
    tests = registry.build("prune", "finish_tests", {"boxed": "off", "repetition": "off"}, LIMITS)
    policies = Policies(segment, timed, tests, registry.build("advantage", "grpo", {}, LIMITS))
    world = QuickWorld(seed=seed, replicas=1, slots=trees * LEAVES, tasks=trees, limits=LIMITS, policies=policies)
    world.run()
    return timed.calls


def figures(alone: Sequence[int], crowd: Sequence[int], trees: int) -> Figures:
    """Microseconds per event: every call counts, also those that ask for nothing."""
    ordered = sorted(crowd)
    alone_us, crowd_us = sum(alone) / len(alone) / 1e3, sum(crowd) / len(crowd) / 1e3
    return {
        "alone_us": alone_us,
        "crowd_us": crowd_us,
        "growth": crowd_us / alone_us,
        "p99_us": ordered[len(ordered) * 99 // 100] / 1e3,
        "slowest_us": ordered[-1] / 1e3,
        "events": len(crowd) / trees,
    }


def _build(name: str) -> Any:
    """The policy, for trees of 64 leaves. InvalidInput if it makes fewer or more."""
    policy = registry.build("branch", name, SHAPES.get(name, {}), LIMITS)
    if policy.max_leaves != LEAVES:
        raise InvalidInput(f"branch policy '{name}' grows {policy.max_leaves} leaves here, not {LEAVES}")
    return policy


class QuickWorld(World):
    """Cheap tokens, and no audit: only the policy's time counts."""

    def _token(self, seed: int, position: int) -> int:
        mixed = (seed ^ position * 0x9E3779B97F4A7C15) * 0xBF58476D1CE4E5B9 >> 29
        return 2 + mixed % 50 if mixed % END_EVERY else EOS

    def _audit(self) -> None:
        pass


@dataclass(frozen=True, slots=True)
class TimedPolicy(ObservedPolicy):
    """Does what the policy does, and keeps how long each call took, in nanoseconds."""

    calls: "array[int]" = field(default_factory=lambda: array("q"))

    def grow(self, tree: Tree) -> "TimedGrowth":
        """The policy's memory, timed."""
        return TimedGrowth(self.policy.grow(tree), self.calls)


@dataclass(slots=True)
class TimedGrowth:
    """One tree."""

    growth: Growth
    calls: "array[int]"

    def start(self, tree: Tree) -> list[Expansion]:
        """First branches."""
        began = time.perf_counter_ns()
        expansions = self.growth.start(tree)
        self.calls.append(time.perf_counter_ns() - began)
        return expansions

    def on_node(self, tree: Tree, node: Node) -> list[Expansion]:
        """A node came."""
        began = time.perf_counter_ns()
        expansions = self.growth.on_node(tree, node)
        self.calls.append(time.perf_counter_ns() - began)
        return expansions

    def on_idle(self, tree: Tree) -> list[Expansion]:
        """Nothing runs."""
        began = time.perf_counter_ns()
        expansions = self.growth.on_idle(tree)
        self.calls.append(time.perf_counter_ns() - began)
        return expansions
