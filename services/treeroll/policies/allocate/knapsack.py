"""Knapsack RL: leaves go to the tasks that the trainer learns most from."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import ClassVar, Literal

from pydantic import Field

from treeroll.policies.allocate.greedy import EDGE, filled
from treeroll.policies.allocate.rated import RatedAllocation, RatedAllocator, RatedParams
from treeroll.policies.allocate.value import enough, gain
from treeroll.policy.allocate import Allocation, BudgetView, Need, TaskView
from treeroll.policy.base import Limits
from treeroll.tree.apportion import apportion
from treeroll.why import Why, because


class Knapsack(RatedAllocator):
    """The tasks of a submission share `leaves` times their number by the value of a leaf, from `least` to `most` each.

    N leaves of a task whose leaves succeed at rate p are worth V(N, p) = (1 - p^N - (1 - p)^N) p (1 - p)^2: the chance
    that they differ, without which credit is 0, times the expected rise of the success rate. The sum of values is the
    largest possible: V is concave in N, so leaves are given one by one to the task that gains most by it.

    V is 0 for p = 0 and for p = 1, so such tasks get `least`. But if the others cannot use the rest, because each has
    enough to show both outcomes with probability `confidence`, then what they do not need is split evenly over the
    tasks of p = 0, or over those of p = 1 if there are none. That is how leaves reach what never succeeded yet.

    Tasks without a rate get `leaves`, and are left out of the sharing.

    Known from the paper's abstract and from three implementations of others that agree; the official code was not
    found. Ours: the solver, in place of a dynamic program; `least` counts in the value of the first leaf beyond it (in
    one of those implementations it does not), and towards what a mixed task needs, which is rounded up. One of them
    reserves that need beside `least`, rounded down, and so leaves less to tasks of p = 0: over the rates 1, 1, 1/16, 0
    and 7/16, 160 leaves and a `least` of 2 it has 111 for them above `least`, ours 113. What is left where nobody has
    room goes first to tasks of p = 0, then of p = 1; rates within 1e-8 of 0 or 1 are 0 or 1; `prior`; ties go by task
    id, so the order of submission says nothing.
    """

    name: ClassVar[str] = "knapsack"
    summary: ClassVar[str] = "leaves go where a task's outcomes are likeliest to differ and to teach most"
    paper: ClassVar[str] = "Knapsack RL, arXiv 2509.25849"
    explains: ClassVar[Mapping[str, str]] = {
        "knapsack.gain": "with a success rate of {rate} one more than {leaves} leaves would gain {gain}, less than "
        "leaves of others do ({least} to {most} a task)",
        "knapsack.one_way": "its success rate is {rate}, so leaves teach nothing yet: {leaves}, which is {least} "
        "and what others do not need",
        "knapsack.unknown": "it has no rate, so it gets {leaves} leaves as without an allocator",
    }
    asked: ClassVar[Literal["submission", "start"]] = "submission"
    needs: ClassVar[tuple[Need, ...]] = ()

    class Params(RatedParams):
        """How sure is enough."""

        confidence: float = Field(
            0.9, gt=0, lt=1, description="probability of seeing both outcomes at which a task has enough leaves"
        )

    def __init__(self, params: Params, limits: Limits) -> None:
        super().__init__(params, limits)
        self.confidence = params.confidence

    def open(self, seed: int) -> Allocation:
        """A fresh memory for a run."""
        return KnapsackAllocation(self)


class KnapsackAllocation(RatedAllocation):
    """The sharing of a submission."""

    def __init__(self, policy: Knapsack) -> None:
        super().__init__(policy)
        self._policy = policy

    def allocate(self, tasks: Sequence[TaskView], budget: BudgetView) -> list[int]:
        """Leaves for each task, `leaves` on average."""
        given = [self._policy.leaves] * len(tasks)
        rates = {place: rate for place, task in enumerate(tasks) if (rate := self._predictor.of(task)) is not None}
        places = sorted(rates, key=lambda place: tasks[place].task_id)
        for place, leaves in zip(places, self._shared([rates[place] for place in places]), strict=True):
            given[place] = leaves
        return given

    def explain(self, task: TaskView, budget: BudgetView, leaves: int) -> Why:
        """By its rate."""
        rate, policy = self._predictor.of(task), self._policy
        if rate is None:
            return because("knapsack.unknown", leaves=leaves)
        if not EDGE < rate < 1 - EDGE:
            return because("knapsack.one_way", rate=rate, leaves=leaves, least=policy.least)
        bounds = {"least": policy.least, "most": policy.most}
        return because("knapsack.gain", rate=rate, leaves=leaves, gain=gain(leaves, rate), **bounds)

    def _shared(self, rates: Sequence[float]) -> list[int]:
        policy = self._policy
        return shared(rates, policy.leaves * len(rates), policy.least, policy.most, policy.confidence)


def shared(rates: Sequence[float], total: int, least: int, most: int, confidence: float) -> list[int]:
    """Leaves per task, `total` in all. It must lie between `least` and `most` times the number of tasks."""
    leaves = [least] * len(rates)
    rest = total - sum(leaves)
    hard = [item for item, rate in enumerate(rates) if rate <= EDGE]
    easy = [item for item, rate in enumerate(rates) if rate >= 1 - EDGE]
    mixed = [item for item, rate in enumerate(rates) if EDGE < rate < 1 - EDGE]
    rest -= _spread(
        leaves, hard or easy, _surplus(rest, (rates[item] for item in mixed), least, most, confidence), most
    )
    units = min(rest, (most - least) * len(mixed))
    for item, count in zip(mixed, filled([rates[item] for item in mixed], units, least, most), strict=True):
        leaves[item] = count
    rest -= units
    rest -= _spread(leaves, hard, rest, most)
    _spread(leaves, easy, rest, most)
    return leaves


def _surplus(rest: int, rates: Iterable[float], least: int, most: int, confidence: float) -> int:
    """What is left when each of the tasks has as many as are enough."""
    for rate in rates:
        if (needed := enough(rate, confidence)) > least:
            rest -= min(most, math.ceil(needed)) - least
        if rest <= 0:
            return 0
    return rest


def _spread(leaves: list[int], items: Sequence[int], amount: int, most: int) -> int:
    """Give the items up to `amount` more, evenly, none above `most`. Returns what was given."""
    room = [most - leaves[item] for item in items]
    given = min(amount, sum(room))
    for item, more in zip(items, apportion(given, [1.0] * len(items), caps=room), strict=True):
        leaves[item] += more
    return given
