"""What a decision costs while the real core grows trees: one after another, and the same side by side.

Time tells what a decision costs there; lines of Python tell why. A policy that does the same work for a tree, however
many grow beside it, runs the same lines; what time it takes more is that of caches which others have filled meanwhile.
"""

from array import array
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from treeroll.bench.decisions import Clock, Lines, MeasuredPolicy
from treeroll.bench.result import Column, Result
from treeroll.bench.rounds import Figures, Variant, run_rounds
from treeroll.errors import InvalidInput
from treeroll.policies import registry
from treeroll.policies.policies import Policies
from treeroll.policy.base import Limits
from treeroll.simulation.language import EOS
from treeroll.simulation.world import World

COLUMNS = (
    Column("alone_us", "us/event, one by one", 1),
    Column("crowd_us", "side by side", 1),
    Column("growth", "ratio", 2),
    Column("lines", "lines/event, one by one", 1),
    Column("lines_growth", "ratio", 3),
    Column("p99_us", "p99 us", 1),
    Column("slowest_us", "slowest", 0),
    Column("events", "events/tree", 0),
)
LEAVES = 64
SEGMENT_TOKENS = 32
# Two to the depth is the default width: full binary trees just fit.
DEPTH = 6
# Parameters that give each policy 64 leaves; of a policy that is not named here, its defaults.
SHAPES: Final[Mapping[str, Mapping[str, object]]] = {
    "spo": {"fanouts": (4, 4, 4)},
    "treerpo": {"arity": 2},
    "tree_grpo": {"chains": 8, "picks": 7, "rounds": 1},
    "ib_tpo": {"initial": 8, "rounds": 57, "nodes": 1, "forks": 1},
    "treerl": {"chains": 8, "places": 7, "forks": 1, "rounds": 1},
    "hbpo": {"budgets": (48, 96, 144, 192)},
    "deepsearch": {"width": 8, "terminals": 8},
    # As many expansions as leaves allow, however often paths succeed.
    "rest_mcts": {"width": 4, "iterations": 21, "successes": 1024},
    "tree_planner": {"samples": 32, "places": 16, "forks": 2},
    "pets_online": {"budgets": (LEAVES,) * 5},
}
# One segment in so many ends its path, about.
END_EVERY = 8


def limits_of(leaves: int = LEAVES, segment_tokens: int = SEGMENT_TOKENS) -> Limits:
    """Trees as wide as that, of segments as long as that."""
    return Limits(leaves, segment_tokens, DEPTH, DEPTH * segment_tokens)


async def measure(
    names: Sequence[str], limits: Limits, trees: int, rounds: int, note: Callable[[str], None], warm_ups: int = 1
) -> Result:
    """Each round grows the same `trees` one by one and side by side, twice: for the clock, and to count lines."""
    for name in names:
        _build(name, limits)

    def variant(name: str) -> Variant:
        async def run(number: int) -> Figures:
            alone, crowd = (grow(name, limits, trees, number, Clock(), together) for together in (False, True))
            alone_lines, crowd_lines = (
                grow(name, limits, trees, number, Lines(), together) for together in (False, True)
            )
            return figures(alone, crowd, alone_lines, crowd_lines, trees)

        return run

    measured = await run_rounds({name: variant(name) for name in names}, rounds, note, warm_ups)
    parameters = {
        "leaves": limits.leaves,
        "segment_tokens": limits.segment_tokens,
        "max_depth": limits.max_depth,
        "trees": trees,
        "policies": list(names),
    }
    return Result("policies", parameters, measured, COLUMNS)


def grow(name: str, limits: Limits, trees: int, seed: int, meter: Clock | Lines, together: bool) -> "array[int]":
    """Grow so many trees, side by side or one by one; what the meter says of each call of the policy.

    Trees that have grown stay in memory, and nothing reads them any more.
    """
    measured = MeasuredPolicy(_build(name, limits), meter)
    segment = registry.build("segment", "fixed", {"hold": measured.needs.hold}, limits)
    tests = registry.build("prune", "finish_tests", {"boxed": "off", "repetition": "off"}, limits)
    policies = Policies(segment, measured, tests, registry.build("advantage", "grpo", {}, limits))
    slots = trees * limits.leaves
    world = QuickWorld(
        seed=seed, replicas=1, slots=slots, tasks=trees, limits=limits, policies=policies, together=together,
        end_every=END_EVERY * limits.segment_tokens,
    )  # fmt: skip
    world.run()
    return meter.calls


def figures(
    alone: Sequence[int], crowd: Sequence[int], alone_lines: Sequence[int], crowd_lines: Sequence[int], trees: int
) -> Figures:
    """Microseconds and lines per event: every call counts, also those that ask for nothing."""
    ordered = sorted(crowd)
    alone_us, crowd_us = sum(alone) / len(alone) / 1e3, sum(crowd) / len(crowd) / 1e3
    lines = sum(alone_lines) / len(alone_lines)
    return {
        "alone_us": alone_us,
        "crowd_us": crowd_us,
        "growth": crowd_us / alone_us,
        "lines": lines,
        "lines_growth": sum(crowd_lines) / len(crowd_lines) / lines,
        "p99_us": ordered[len(ordered) * 99 // 100] / 1e3,
        "slowest_us": ordered[-1] / 1e3,
        "events": len(crowd) / trees,
    }


def _build(name: str, limits: Limits) -> Any:
    """The policy, for trees of so many leaves. InvalidInput if it makes fewer or more."""
    policy = registry.build("branch", name, SHAPES.get(name, {}), limits)
    if policy.max_leaves != limits.leaves:
        raise InvalidInput(f"branch policy '{name}' grows {policy.max_leaves} leaves here, not {limits.leaves}")
    return policy


@dataclass
class QuickWorld(World):
    """Cheap tokens, and no audit: only the policy's time counts. Not `together`: one tree after another."""

    together: bool = True
    end_every: int = END_EVERY * SEGMENT_TOKENS

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.together:
            self.state.settings = replace(self.state.settings, live_trees=1)

    def _token(self, seed: int, position: int) -> int:
        mixed = (seed ^ position * 0x9E3779B97F4A7C15) * 0xBF58476D1CE4E5B9 >> 29
        return 2 + mixed % 50 if mixed % self.end_every else EOS

    def _audit(self) -> None:
        pass
