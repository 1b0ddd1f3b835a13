"""MCPP: a budget and a deadline are planned for by simulating what is left of the run."""

import math
from collections import deque
from collections.abc import Sequence
from typing import ClassVar, Final, Literal, NamedTuple

from pydantic import Field, field_validator

from treeroll.core.rng import hash64
from treeroll.policies import base
from treeroll.policies.allocate.base import Allocation, BudgetView, Need, Outcome, TaskView
from treeroll.policies.allocate.rated import MAX_LEAVES
from treeroll.policies.base import Limits

# Later tasks drawn per simulation; each stands for as many as it takes to make up all that are left.
DRAWN: Final = 16
# Ended trees that are remembered: the newest.
REMEMBERED: Final = 256
# A plan must be better than the one before it by more than rounding.
BETTER: Final = 1e-12


class MCPP:
    """Each task, when its tree starts, gets the count of leaves after which the rest of the run looks best.

    For each count that this task may get, and for each that all later tasks may get from now on, the rest of the run is
    simulated `simulations` times. The best pair's first count is what the task gets; at the next task all is planned
    anew. Every simulation draws tasks from the trees that have ended: seconds, tokens per leaf, and the share of leaves
    that succeeded. All pairs see the same draws. Of equal pairs the first wins, so fewer leaves do.

    Kept from the source: the counts, the first action of the best pair of action and constant continuation, 64
    simulations of empirical samples, that leaves are paid for when they start, that a task is done when its last leaf
    is, and that nothing counts which passes the budget or the deadline.

    Ours: tasks are independent, where the source plans a graph of sub-tasks of which all must be done. So a plan is
    worth the expected number of tasks solved in time, with one successful leaf or more, and not the probability that
    all are. Tasks start in the order they wait in, on `slots` branches that are never idle; what runs already is not
    simulated. Up to 16 later tasks are drawn, each for an equal share of them. The task itself is given its own success
    rate, if it has a history, and the chance of a success is taken, not drawn. Counts above the run's `leaves` are
    `leaves`. Before a tree has ended, tasks get `leaves`, or the largest count.
    """

    name: ClassVar[str] = "mcpp"
    summary: ClassVar[str] = "leaves by simulating what can still be solved within budget and deadline"
    paper: ClassVar[str] = "On Time, Within Budget (MCPP), arXiv 2605.06110"
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


class Ended(NamedTuple):
    """A tree that ended."""

    seconds: float
    tokens: float  # per leaf
    rate: float  # share of its leaves that succeeded


class Future(NamedTuple):
    """One simulation: this task, and later ones in the order they start, each standing for `each` tasks."""

    this: Ended
    later: Sequence[Ended]
    each: float


Step = tuple[float, float, float]


class Left(NamedTuple):
    """What there is to spend; infinite where there is no limit."""

    tokens: float
    seconds: float
    slots: int


class MCPPAllocation:
    """The trees that ended, and how often it was asked."""

    def __init__(self, policy: MCPP, seed: int) -> None:
        self._policy = policy
        self._seed = seed
        self._turn = 0
        self._ended: deque[Ended] = deque(maxlen=REMEMBERED)

    def allocate(self, tasks: Sequence[TaskView], budget: BudgetView) -> list[int]:
        """A count for each task, planned as if it were the only one that starts now."""
        return [self._planned(task, budget) for task in tasks]

    def learn(self, task: TaskView, outcome: Outcome) -> None:
        """Remember a tree that somebody scored."""
        if outcome.scored > 0:
            share = outcome.successes / outcome.scored
            self._ended.append(Ended(max(0.0, outcome.seconds), outcome.tokens / outcome.scored, share))

    def _planned(self, task: TaskView, budget: BudgetView) -> int:
        self._turn += 1
        if not self._ended or (budget.tokens_left is None and budget.seconds_left is None):
            return self._policy.most
        left = Left(_limit(budget.tokens_left), _limit(budget.seconds_left), max(1, budget.slots))
        return best_count(self._policy.counts, self._futures(task, budget.tasks_left - 1), left)

    def _futures(self, task: TaskView, later: int) -> list[Future]:
        """As many as there are simulations, of tasks drawn with replacement from those that ended."""
        drawn = min(DRAWN, max(0, later))
        each = later / drawn if drawn else 0.0
        ended = list(self._ended)
        futures = []
        for number in range(self._policy.simulations):
            this, *others = _draws(ended, drawn + 1, hash64(self._seed, "mcpp", self._turn, number))
            if task.scored > 0:
                this = this._replace(rate=min(1.0, task.successes / task.scored))
            futures.append(Future(this, others, each))
        return futures


def best_count(counts: Sequence[int], futures: Sequence[Future], left: Left) -> int:
    """The first count of the best pair of this task's leaves and those of every later one."""
    best, chosen = -math.inf, counts[0]
    plans = [[_plan(future, count, left.slots) for count in counts] for future in futures]
    for count in counts:
        heads = [_head(future.this, count, left) for future in futures]
        for place in range(len(counts)):
            solved = math.fsum(own + _done(plan[place], *rest) for (own, rest), plan in zip(heads, plans, strict=True))
            if solved / len(futures) > best + BETTER:
                best, chosen = solved / len(futures), count
    return chosen


def _head(task: Ended, count: int, left: Left) -> tuple[float, tuple[float, float]]:
    """The chance that a task of `count` leaves is solved in time, and the tokens and seconds then left for others."""
    tokens = left.tokens - count * task.tokens
    in_time = tokens >= 0 and task.seconds * max(1.0, count / left.slots) <= left.seconds
    solved = 1 - (1 - task.rate) ** count if in_time else 0.0
    return solved, (tokens, left.seconds - count * task.seconds / left.slots)


def _plan(future: Future, count: int, slots: int) -> list[Step]:
    """The later tasks, each with `count` leaves: what has been spent when they are done, and how many are solved."""
    steps, tokens, work = [], 0.0, 0.0
    alone = max(0.0, 1 - count / slots)  # the share of its seconds that a tree runs on beyond its share of the slots
    for task in future.later:
        tokens += future.each * count * task.tokens
        work += future.each * count * task.seconds
        solved = future.each * (1 - (1 - task.rate) ** count)
        steps.append((tokens, work / slots + alone * task.seconds, solved))
    return steps


def _done(steps: Sequence[Step], tokens: float, seconds: float) -> float:
    """How many are solved with what is left."""
    return sum([solved for spent, ends, solved in steps if spent <= tokens and ends <= seconds])


def _limit(left: float | None) -> float:
    return math.inf if left is None else left


def _draws(ended: Sequence[Ended], many: int, state: int) -> list[Ended]:
    """Items drawn with replacement, by a congruential generator: a hash for each would cost more than the plan."""
    drawn = []
    for _ in range(many):
        state = (state * 6364136223846793005 + 1442695040888963407) % 2**64
        drawn.append(ended[(state >> 33) % len(ended)])
    return drawn
