"""Leaves by Neyman's rule: more where outcomes spread, fewer where samples are long."""

import math
from collections.abc import Mapping, Sequence
from typing import ClassVar, Literal

from pydantic import Field

from treeroll.policies.allocate.rated import HistoryAllocator, HistoryParams
from treeroll.policy.allocate import Allocation, BudgetView, Need, Outcome, TaskView
from treeroll.tree.apportion import apportion
from treeroll.why import Why, because


class Neyman(HistoryAllocator):
    """The tasks of a submission share `leaves` times their number in proportion to sqrt(q (1 - q) / tokens).

    q = (s + `prior`) / (n + 2 `prior`) is the success rate of a task of which s of n leaves succeeded, and `tokens`
    what a leaf of it took on average: Neyman's allocation to strata of unequal spread and cost, for which the mean over
    all tasks is known best. Whoever would get fewer than `least` gets `least`, and nobody more than `most`; the others
    share the rest, still in that proportion. So tasks that always succeed or always fail keep the two leaves without
    which there is no baseline, and with the prior of 1/2 a few more as long as they have few leaves.

    Tasks without a history get `leaves`, and are left out of the sharing. A task whose history does not say its tokens
    counts as long as the others on average.

    Meant for losses in which every task weighs the same; where every sample does, as in a loss that is a mean over
    tokens, `mixed` leans harder towards tasks whose outcomes differ. VIP (arXiv 2602.01601; an abstract and accounts of
    others) has the same rule with rates that a model of prompts predicts, and rounds greedily. Ours: rates from the
    task's own history; shares by largest remainder, ties by task id.
    """

    name: ClassVar[str] = "neyman"
    summary: ClassVar[str] = "leaves in proportion to the deviation of a task's outcomes, over the root of their length"
    paper: ClassVar[str] = "Neyman 1934; as VIP, arXiv 2602.01601"
    explains: ClassVar[Mapping[str, str]] = {
        "neyman.share": "with a success rate of {rate} and {tokens} tokens a leaf its share is {leaves} leaves, of "
        "{least} to {most}",
        "neyman.unknown": "it has no history, so it gets {leaves} leaves as without an allocator",
    }
    asked: ClassVar[Literal["submission", "start"]] = "submission"
    needs: ClassVar[tuple[Need, ...]] = ()

    class Params(HistoryParams):
        """What a history begins with."""

        prior: float = Field(
            0.5, gt=0, le=1000, description="successes, and as many failures, that a task's history begins with"
        )

    def open(self, seed: int) -> Allocation:
        """Nothing to remember: the store has the history."""
        return self

    def allocate(self, tasks: Sequence[TaskView], budget: BudgetView) -> list[int]:
        """Leaves for each task, `leaves` on average."""
        given = [self.leaves] * len(tasks)
        known = sorted((task.task_id, place) for place, task in enumerate(tasks) if task.scored > 0)
        weights = self._weights([tasks[place] for _, place in known])
        shares = shared(self.leaves * len(known), weights, self.least, self.most)
        for (_, place), leaves in zip(known, shares, strict=True):
            given[place] = leaves
        return given

    def explain(self, task: TaskView, budget: BudgetView, leaves: int) -> Why:
        """By its history."""
        if task.scored <= 0:
            return because("neyman.unknown", leaves=leaves)
        tokens = task.tokens / task.scored
        bounds = {"least": self.least, "most": self.most}
        return because("neyman.share", rate=self._rate(task), tokens=tokens, leaves=leaves, **bounds)

    def learn(self, task: TaskView, outcome: Outcome) -> None:
        """What leaves did is in the history of their task."""

    def _rate(self, task: TaskView) -> float:
        # Decayed counts are rounded, each for itself.
        return (min(task.successes, task.scored) + self.prior) / (task.scored + 2 * self.prior)

    def _weights(self, tasks: Sequence[TaskView]) -> list[float]:
        lengths = [task.tokens / task.scored for task in tasks if task.tokens > 0]
        usual = math.fsum(lengths) / len(lengths) if lengths else 1.0
        weights = []
        for task in tasks:
            rate = self._rate(task)
            length = task.tokens / task.scored if task.tokens > 0 else usual
            weights.append(math.sqrt(rate * (1 - rate) / length))
        return weights


def shared(total: int, weights: Sequence[float], least: int, most: int) -> list[int]:
    """Whole shares of `total` in proportion to weights above 0, but none below `least` or above `most`.

    `total` lies between `least` and `most` times their number.
    """
    shares, open_ = [least] * len(weights), list(range(len(weights)))
    while open_:
        each = total / math.fsum(weights[item] for item in open_)
        low = [item for item in open_ if each * weights[item] < least]
        high = [item for item in open_ if each * weights[item] > most]
        lacking = math.fsum(least - each * weights[item] for item in low)
        beyond = math.fsum(each * weights[item] - most for item in high)
        # The larger of the two shifts the proportion its way, so what is clipped there stays clipped.
        clipped, bound = (low, least) if lacking >= beyond else (high, most)
        if not clipped:
            break
        for item in clipped:
            shares[item] = bound
        total -= bound * len(clipped)
        open_ = [item for item in open_ if item not in set(clipped)]
    caps = [most] * len(open_)
    for item, share in zip(open_, apportion(total, [weights[item] for item in open_], caps=caps), strict=True):
        shares[item] = share
    return shares
