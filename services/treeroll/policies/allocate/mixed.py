"""Leaves for the tasks whose groups are likeliest to be mixed: outcomes that do not differ teach nothing."""

import math
from collections.abc import Mapping, Sequence
from typing import ClassVar, Literal

from treeroll.policies.allocate.rated import HistoryAllocator, HistoryParams
from treeroll.policy.allocate import Allocation, BudgetView, Need, Outcome, TaskView
from treeroll.tree.apportion import apportion
from treeroll.why import Why, because


class Mixed(HistoryAllocator):
    """The tasks of a submission share `leaves` times their number: `least` each, the rest in proportion to P(mixed).

    P(mixed) is the probability that of `leaves` more leaves some succeed and some fail, if the task's success rate has
    the Beta posterior of its history: s + `prior` successes and f + `prior` failures. Where all failed or all succeeded
    and `prior` is 0, it is 0: such tasks get `least` until one of those comes out otherwise. No task gets more than
    `most`. Where nobody has a chance, all get the same.

    Tasks without a history get `leaves`, and are left out of the sharing.

    Ours, for the most samples with an advantage per token, hence for losses in which every sample weighs the same;
    where every task does, see `neyman`. It says beforehand, and softly, what DAPO's dynamic sampling (arXiv 2503.14476)
    does afterwards, which throws whole groups without a difference away and samples others.
    """

    name: ClassVar[str] = "mixed"
    summary: ClassVar[str] = "leaves in proportion to the chance that a task's outcomes differ"
    paper: ClassVar[str] = "ours"
    explains: ClassVar[Mapping[str, str]] = {
        "mixed.chance": "with {successes} of {scored} leaves that succeeded, the chance that its leaves differ is "
        "{chance}: {leaves} leaves, of {least} to {most}",
        "mixed.unknown": "it has no history, so it gets {leaves} leaves as without an allocator",
    }
    asked: ClassVar[Literal["submission", "start"]] = "submission"
    needs: ClassVar[tuple[Need, ...]] = ()

    class Params(HistoryParams):
        """Nothing of its own."""

    def open(self, seed: int) -> Allocation:
        """Nothing to remember: the store has the history."""
        return self

    def allocate(self, tasks: Sequence[TaskView], budget: BudgetView) -> list[int]:
        """Leaves for each task, `leaves` on average."""
        given = [self.leaves] * len(tasks)
        known = sorted((task.task_id, place) for place, task in enumerate(tasks) if task.scored > 0)
        chances = [self._chance(tasks[place]) for _, place in known]
        total, caps = self.leaves * len(known), [self.most] * len(known)
        for (_, place), leaves in zip(known, apportion(total, chances, self.least, caps), strict=True):
            given[place] = leaves
        return given

    def explain(self, task: TaskView, budget: BudgetView, leaves: int) -> Why:
        """By its history."""
        if task.scored <= 0:
            return because("mixed.unknown", leaves=leaves)
        chance, history = self._chance(task), {"successes": task.successes, "scored": task.scored}
        return because("mixed.chance", **history, chance=chance, leaves=leaves, least=self.least, most=self.most)

    def learn(self, task: TaskView, outcome: Outcome) -> None:
        """What leaves did is in the history of their task."""

    def _chance(self, task: TaskView) -> float:
        # Decayed counts are rounded, each for itself.
        failures = max(0.0, task.scored - task.successes)
        return p_mixed(task.successes + self.prior, failures + self.prior, self.leaves)


def p_mixed(successes: float, failures: float, leaves: int) -> float:
    """P(some of `leaves` succeed and some fail), their rate drawn from Beta(successes, failures); 0 if either is 0."""
    if successes <= 0 or failures <= 0:
        return 0.0
    return max(0.0, 1 - _p_none(successes, failures, leaves) - _p_none(failures, successes, leaves))


def _p_none(these: float, others: float, leaves: int) -> float:
    """P(none is one of these)."""
    both = these + others
    return math.exp(math.lgamma(others + leaves) - math.lgamma(others) + math.lgamma(both) - math.lgamma(both + leaves))
