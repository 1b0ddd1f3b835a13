"""Dual mirror descent: a price per token decides how many leaves each task is worth, as it comes."""

import math
from collections.abc import Mapping, Sequence
from typing import ClassVar, Final, Literal

from pydantic import Field

from treeroll.policies.allocate.greedy import filled
from treeroll.policies.allocate.rated import RatedAllocation, RatedAllocator, RatedParams
from treeroll.policies.allocate.value import leaves_above, log_gain
from treeroll.policy.allocate import Allocation, BudgetView, Need, TaskView
from treeroll.policy.base import Limits
from treeroll.policy.memory import Parts
from treeroll.why import Why, because

# Rates of the tasks that the first price is for.
USUAL: Final = tuple(percent / 100 for percent in range(5, 100, 5))


class DualDescent(RatedAllocator):
    """Each task, when its tree starts, gets leaves for as long as the next one gains more than it costs.

    A leaf costs its expected tokens times a price; the gain is that of `knapsack`'s value. After each task the price
    rises if the task wanted more tokens than the budget has for one, rho = tokens left / tasks left, and falls if it
    wanted fewer: spending paces itself to the budget without a forecast of what tasks will come. The price follows what
    the task wanted, even if the tokens left did not suffice: then it gets `least` leaves.

    The rule is the online allocation by dual mirror descent of the source, in its entropic form: the price is
    multiplied by exp(-eta (1 - wanted / rho)). Its regret bounds, for the abstract's kinds of input, ask for a step eta
    of about 1 / sqrt(tasks), the default.

    Known from the abstract and from others' accounts. Ours: the use for rollouts; one resource, tokens; `least` leaves
    in place of no service; rho anew for each task, so that what leaves really cost is made up for; wanted tokens in
    units of rho, so that eta has none; and the first price, at which tasks of rates 0.05, 0.10 ... 0.95 want `leaves`
    on average. It stays where it matters, between the first gain of any task and the last of a task of rate 1/2.
    Entropic, because gains fall geometrically with leaves: equal factors of the price are equal numbers of leaves. A
    task without a rate gets `leaves`, and the price hears of it.
    """

    name: ClassVar[str] = "dual_descent"
    summary: ClassVar[str] = (
        "leaves as long as the next one gains more than its tokens cost, at a price that keeps pace"
    )
    paper: ClassVar[str] = "Dual Mirror Descent for Online Allocation, arXiv 2011.10124"
    explains: ClassVar[Mapping[str, str]] = {
        "dual_descent.price": "with a success rate of {rate}, {leaves} leaves gain more than they cost at {cost} "
        "tokens each; the price of a token is {price} behind it, and {left} tokens are left",
        "dual_descent.unknown": "it has no rate, so it gets {leaves} leaves as without an allocator",
    }
    asked: ClassVar[Literal["submission", "start"]] = "start"
    needs: ClassVar[tuple[Need, ...]] = ("tokens",)

    class Params(RatedParams):
        """How fast the price moves."""

        eta: float | None = Field(
            None, gt=0, le=10, description="step of the price; none: 1 / sqrt(tasks left at the first question)"
        )

    def __init__(self, params: Params, limits: Limits) -> None:
        super().__init__(params, limits)
        self.eta = params.eta

    def open(self, seed: int) -> Allocation:
        """A fresh memory for a run."""
        return DualDescentAllocation(self)


class DualDescentAllocation(RatedAllocation):
    """The price."""

    def __init__(self, policy: DualDescent) -> None:
        super().__init__(policy)
        self._policy = policy
        self._eta = policy.eta
        # Logs of the gains that a leaf's price stays between.
        self._lowest, self._highest = log_gain(policy.most, 0.5), log_gain(policy.least, 1 / 3)
        self._log_price: float | None = None  # of a token
        self._told: float | None = None

    def allocate(self, tasks: Sequence[TaskView], budget: BudgetView) -> list[int]:
        """Leaves of each task in turn; what the earlier ones get is gone for the later ones."""
        if budget.tokens_left is None:
            return [self._policy.leaves] * len(tasks)
        cost = max(1.0, budget.tokens_per_leaf)
        left, waiting = float(budget.tokens_left), max(budget.tasks_left, len(tasks), 1)
        eta = self._eta = self._eta or 1 / math.sqrt(waiting)
        log_price = _first_bar(self._policy) - math.log(cost) if self._log_price is None else self._log_price
        given = []
        for place, task in enumerate(tasks):
            wanted = self._wanted(self._predictor.of(task), log_price + math.log(cost))
            given.append(wanted if wanted * cost <= left else self._policy.least)
            log_price = self._paced(log_price, eta, wanted * cost, left / (waiting - place), cost)
            left -= given[-1] * cost
        self._log_price = log_price
        return given

    def explain(self, task: TaskView, budget: BudgetView, leaves: int) -> Why:
        """By its rate, and the price that is in force behind it."""
        rate = self._predictor.of(task)
        if rate is None or budget.tokens_left is None or self._log_price is None:
            return because("dual_descent.unknown", leaves=leaves)
        terms = {"rate": rate, "price": math.exp(self._log_price), "cost": budget.tokens_per_leaf}
        return because("dual_descent.price", **terms, left=budget.tokens_left, leaves=leaves)

    def changes(self) -> Parts:
        """The price with its step, and what the predictor has learnt."""
        learnt = super().changes()
        if self._log_price == self._told:
            return learnt
        self._told = self._log_price
        return {"price": [self._eta, self._log_price], **learnt}

    def restore(self, parts: Parts) -> None:
        """Go on with a price."""
        super().restore(parts)
        if "price" in parts:
            self._eta, self._log_price = map(float, parts["price"])
            self._told = self._log_price

    def _wanted(self, rate: float | None, bar: float) -> int:
        """Leaves up to the first whose gain is not above the bar."""
        policy = self._policy
        return policy.leaves if rate is None else leaves_above(bar, rate, policy.least, policy.most)

    def _paced(self, log_price: float, eta: float, wanted: float, rho: float, cost: float) -> float:
        """The price after a task: higher if it wanted more than there is for one, else lower."""
        if rho <= 0:
            return self._highest - math.log(cost)
        bar = log_price + math.log(cost) - eta * (1 - wanted / rho)
        return min(self._highest, max(self._lowest, bar)) - math.log(cost)


def _first_bar(policy: DualDescent) -> float:
    """Log of the gain that no leaf has which tasks of usual rates are not given, if they get `leaves` on average."""
    units = (policy.leaves - policy.least) * len(USUAL)
    usual = zip(filled(USUAL, units, policy.least, policy.most), USUAL, strict=True)
    return max(log_gain(leaves, rate) for leaves, rate in usual)
