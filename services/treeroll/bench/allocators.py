"""What sharing leaves out costs: all tasks of a submission together, or one by one as their trees start."""

import random
import time
from collections.abc import Callable, Sequence
from typing import Any, Final

from treeroll.bench.result import Column, Result
from treeroll.bench.rounds import Figures, Variant, run_rounds
from treeroll.policies import registry
from treeroll.policy.allocate import BudgetAllocator, BudgetView, Outcome, TaskView
from treeroll.policy.base import Limits

COLUMNS = (
    Column("share_ms", "ms for all tasks", 2),
    Column("slowest_us", "slowest call us", 0),
    Column("calls", "calls", 0),
    Column("leaves", "leaves", 0),
    Column("learn_us", "us to learn of a tree", 1),
)
LIMITS: Final = Limits(leaves=16, segment_tokens=512, max_depth=14, max_tokens=14 * 512)
TOKENS_PER_LEAF = 1000.0
SECONDS_PER_LEAF = 0.5
SLOTS = 256
# Trees that have ended before, for allocators that learn from them.
ENDED = 256


async def measure(names: Sequence[str], tasks: int, rounds: int, note: Callable[[str], None]) -> Result:
    """Each round has other tasks: their success rates are spread from 0 to 1, and one in ten has no history."""
    for name in names:
        registry.build("allocate", name, {}, LIMITS)

    def variant(name: str) -> Variant:
        async def run(number: int) -> Figures:
            return share(registry.build("allocate", name, {}, LIMITS), made(tasks, number), number)

        return run

    measured = await run_rounds({name: variant(name) for name in names}, rounds, note)
    return Result("allocators", {"tasks": tasks, "leaves": LIMITS.leaves, "allocators": list(names)}, measured, COLUMNS)


def made(count: int, seed: int) -> list[TaskView]:
    """Tasks with the histories of an epoch of 16 leaves."""
    chance = random.Random(f"tasks-{seed}")  # noqa: S311 - a benchmark
    tasks = []
    for number in range(count):
        scored = 0 if chance.random() < 0.1 else LIMITS.leaves
        rate = chance.random() ** 2 if chance.random() < 0.5 else chance.choice((0.0, 1.0))
        successes = sum(chance.random() < rate for _ in range(scored))
        tokens = scored * TOKENS_PER_LEAF * chance.uniform(0.5, 1.5)
        tasks.append(TaskView(f"task-{number}", f"Compute {number}+{seed}.\n", 400, successes, scored, tokens))
    return tasks


def share(allocator: BudgetAllocator, tasks: Sequence[TaskView], seed: int) -> Figures:
    """Share out leaves of so many tasks, by a budget of 16 for each."""
    allocation = allocator.open(seed)
    tokens, seconds = round(LIMITS.leaves * TOKENS_PER_LEAF), LIMITS.leaves * SECONDS_PER_LEAF
    ended = [(task, Outcome(round(task.successes), round(task.scored), tokens, seconds)) for task in tasks[:ENDED]]
    began = time.perf_counter()
    for task, outcome in ended:
        allocation.learn(task, outcome)
    learned = time.perf_counter() - began
    calls: list[float] = []
    leaves: list[int] = []
    questions: list[Any] = [tasks] if allocator.asked == "submission" else [[task] for task in tasks]
    for number, asked in enumerate(questions):
        budget = _left(len(tasks) - number, LIMITS.leaves * len(tasks) - sum(leaves))
        began = time.perf_counter()
        leaves += allocation.allocate(asked, budget)
        calls.append(time.perf_counter() - began)
    return {
        "share_ms": sum(calls) * 1e3,
        "slowest_us": max(calls) * 1e6,
        "calls": len(calls),
        "leaves": sum(leaves),
        "learn_us": learned / len(ended) * 1e6,
    }


def _left(tasks: int, leaves: int) -> BudgetView:
    tokens = max(0, round(leaves * TOKENS_PER_LEAF))
    return BudgetView(tokens, max(0.0, leaves * SECONDS_PER_LEAF), TOKENS_PER_LEAF, tasks, SLOTS)
