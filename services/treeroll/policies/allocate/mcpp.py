"""MCPP: a budget and a deadline are planned for by simulating what is left of the run."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import ClassVar, Final, Literal

from pydantic import Field, field_validator

from treeroll.policies.allocate.draws import StandingDraws
from treeroll.policies.allocate.futures import Ended, Futures, Left
from treeroll.policies.allocate.rated import MAX_LEAVES
from treeroll.policy import base
from treeroll.policy.allocate import Allocation, BudgetView, Need, Outcome, TaskView
from treeroll.policy.base import Limits
from treeroll.policy.memory import Parts
from treeroll.tree.rng import hash64
from treeroll.why import Why, because

# Later tasks drawn per simulation; each stands for as many as it takes to make up all that are left.
DRAWN: Final = 16
TASKS: Final = 1 + DRAWN
# Ended trees that are remembered: the newest.
REMEMBERED: Final = 256


class MCPP:
    """Each task, when its tree starts, gets the count of leaves after which the rest of the run looks best.

    For each count that this task may get, and for each that all later tasks may get from now on, the rest of the run is
    simulated `simulations` times. The best pair's first count is what the task gets; at the next task all is planned
    anew. Every simulation draws tasks from the trees that have ended: seconds, tokens per leaf, and the share of leaves
    that succeeded. All pairs see the same draws, and the next plan sees them again, but for those that a tree which
    ended meanwhile takes, each with the chance that it has. Of equal pairs the first wins, so fewer leaves do.

    Kept from the source: the counts, the first action of the best pair of action and constant continuation, 64
    simulations of empirical samples, that leaves are paid for when they start, that a task is done when its last leaf
    is, and that nothing counts which passes the budget or the deadline.

    Ours: tasks are independent, where the source plans a graph of sub-tasks of which all must be done. So a plan is
    worth the expected number of tasks solved in time, with one successful leaf or more, and not the probability that
    all are. Tasks start in the order they wait in, on `slots` branches that are never idle; what runs already is not
    simulated. Up to 16 later tasks are drawn, each for an equal share of them, and draws are kept, because a plan is
    then made of sums that are there already. The task itself is given its own success rate, if it has a history, and
    the chance of a success is taken, not drawn. Counts above the run's `leaves` are `leaves`. Before a tree has ended,
    tasks get `leaves`, or the largest count.
    """

    name: ClassVar[str] = "mcpp"
    summary: ClassVar[str] = "leaves by simulating what can still be solved within budget and deadline"
    paper: ClassVar[str] = "On Time, Within Budget (MCPP), arXiv 2605.06110"
    explains: ClassVar[Mapping[str, str]] = {
        "mcpp.plan_tokens": "of the plans for {tasks} tasks, simulated with {trees} trees that ended, the one that "
        "solves most has {leaves} leaves for this one, with {tokens} tokens left",
        "mcpp.plan_seconds": "of the plans for {tasks} tasks, simulated with {trees} trees that ended, the one that "
        "solves most has {leaves} leaves for this one, with {seconds} s left",
        "mcpp.plan_tokens_seconds": "of the plans for {tasks} tasks, simulated with {trees} trees that ended, the "
        "one that solves most has {leaves} leaves for this one, with {tokens} tokens and {seconds} s left",
        "mcpp.first": "no tree has ended yet to plan with, so it gets {leaves} leaves, the most",
    }
    asked: ClassVar[Literal["submission", "start"]] = "start"
    needs: ClassVar[tuple[Need, ...]] = ("tokens", "seconds")

    class Params(base.Params):
        """What is tried, and how often."""

        counts: tuple[int, ...] = Field((1, 4, 16, 64), min_length=1, max_length=8, description="leaves a task may get")
        simulations: int = Field(64, ge=1, le=256, description="simulations of each plan")
        success: float = Field(0.5, allow_inf_nan=False, description="smallest reward of a leaf that succeeded")

        @field_validator("counts")
        @classmethod
        def _ascend(cls, counts: tuple[int, ...]) -> tuple[int, ...]:
            if list(counts) != sorted(set(counts)) or not 1 <= counts[0] <= counts[-1] <= MAX_LEAVES:
                raise ValueError(f"counts must ascend, from 1 or more to {MAX_LEAVES} or fewer")
            return counts

    def __init__(self, params: Params, limits: Limits) -> None:
        self.counts = sorted({min(count, limits.leaves) for count in params.counts})
        self.least, self.most = self.counts[0], self.counts[-1]
        self.success: float | None = params.success
        self.simulations = params.simulations

    def open(self, seed: int) -> Allocation:
        """A fresh memory for a run."""
        return MCPPAllocation(self, seed)


class MCPPAllocation:
    """The trees that ended, and what is drawn of them."""

    def __init__(self, policy: MCPP, seed: int) -> None:
        self._policy = policy
        self._ended: list[Ended] = []
        self._draws = StandingDraws(hash64(seed, "mcpp"), policy.simulations * TASKS, REMEMBERED)
        self._futures = Futures(policy.counts, policy.simulations)
        self._changed: set[int] = set()  # places

    def allocate(self, tasks: Sequence[TaskView], budget: BudgetView) -> list[int]:
        """A count for each task, planned as if it were the only one that starts now."""
        return [self._planned(task, budget) for task in tasks]

    def explain(self, task: TaskView, budget: BudgetView, leaves: int) -> Why:
        """By what is left."""
        if not self._ended or (budget.tokens_left is None and budget.seconds_left is None):
            return because("mcpp.first", leaves=leaves)
        limits = {"tokens": budget.tokens_left, "seconds": budget.seconds_left}
        known = {name: left for name, left in limits.items() if left is not None}
        rule = "mcpp.plan_" + "_".join(known)
        return because(rule, leaves=leaves, trees=self._draws.items, tasks=budget.tasks_left, **known)

    def learn(self, task: TaskView, outcome: Outcome) -> None:
        """Remember a tree that somebody scored, in place of the oldest."""
        if outcome.scored <= 0:
            return
        share = outcome.successes / outcome.scored
        place, drawn = self._draws.add()
        self._ended[place : place + 1] = [Ended(max(0.0, outcome.seconds), outcome.tokens / outcome.scored, share)]
        self._changed.add(place)
        self._simulate(sorted({draw // TASKS for draw in drawn}))

    def changes(self) -> Parts:
        """How many trees there have been, and the newest by their places."""
        if not self._changed:
            return {}
        changed, self._changed = self._changed, set()
        return {"trees": self._draws.items, **{f"tree {place}": list(self._ended[place]) for place in sorted(changed)}}

    def restore(self, parts: Parts) -> None:
        """Know the trees that another one knew."""
        trees = int(parts.get("trees", 0))
        self._ended = [Ended(*map(float, parts[f"tree {place}"])) for place in range(min(trees, REMEMBERED))]
        self._draws.go_on(trees)
        self._simulate(range(self._policy.simulations if trees else 0))

    def _simulate(self, numbers: Iterable[int]) -> None:
        for number in numbers:
            places = self._draws.places[number * TASKS : (number + 1) * TASKS]
            this, *later = (self._ended[place] for place in places)
            self._futures.put(number, this, later)

    def _planned(self, task: TaskView, budget: BudgetView) -> int:
        if not self._ended or (budget.tokens_left is None and budget.seconds_left is None):
            return self._policy.most
        later = max(0, budget.tasks_left - 1)
        drawn = min(DRAWN, later)
        tokens, seconds = _limit(budget.tokens_left), _limit(budget.seconds_left)
        left = Left(tokens, seconds, max(1, budget.slots), drawn, later / drawn if drawn else 1.0)
        return self._futures.best_count(left, min(1.0, task.successes / task.scored) if task.scored > 0 else None)


def _limit(left: float | None) -> float:
    return math.inf if left is None else left
