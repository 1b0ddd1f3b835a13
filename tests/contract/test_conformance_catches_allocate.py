"""The suite can fail: promises of budget allocators are broken here, and it says so."""

import itertools

import pytest
from tests.support.conformance import caught

from treeroll.policies.allocate.knapsack import Knapsack, KnapsackAllocation
from treeroll.why import because

CALLS = itertools.count()


def giving(give):
    """A knapsack whose answers `give` changes: it is told them, the tasks and the budget."""

    class Gives(Knapsack):
        def open(self, seed):
            memory = super().open(seed)
            right = memory.allocate
            memory.allocate = lambda tasks, budget: give(right(tasks, budget), tasks, budget)
            return memory

    return Gives


def known(tasks):
    return len(tasks) > 1 and all(task.scored for task in tasks)


def moved(leaves, giver, taker):
    """A leaf goes from one place to another."""
    return [count - (place == giver) + (place == taker) for place, count in enumerate(leaves)]


def to_the_first(leaves, tasks, budget):
    rich = max(range(len(leaves)), key=leaves.__getitem__) if known(tasks) else 0
    return moved(leaves, rich, 0) if rich and leaves[0] < 128 else leaves


def now_and_then(leaves, tasks, budget):
    return to_the_first(leaves, tasks, budget) if next(CALLS) % 7 == 0 else leaves


def takes_one_away(leaves, tasks, budget):
    tasks.clear()
    return leaves


@pytest.mark.parametrize(
    ("give", "promise"),
    [
        (lambda leaves, tasks, budget: leaves[1:], "Answer"),
        (lambda leaves, tasks, budget: tuple(leaves), "Answer"),
        (lambda leaves, tasks, budget: [100 // budget.tokens_left] and leaves, "Answer"),
        (lambda leaves, tasks, budget: [float(count) for count in leaves], "Bounds"),
        (lambda leaves, tasks, budget: [1000] * len(leaves) if known(tasks) else leaves, "Bounds"),
        (lambda leaves, tasks, budget: [0] * len(leaves) if budget.tokens_left == 0 else leaves, "Bounds"),
        (lambda leaves, tasks, budget: [16] * (len(leaves) - 1) + [15] if known(tasks) else leaves, "Total"),
        (lambda leaves, tasks, budget: moved(leaves, 0, 1) if len(tasks) == 5 else leaves, "Unknown"),
        (to_the_first, "Order"),
        (now_and_then, "Pure"),
        (takes_one_away, "ReadsOnly"),
    ],
)
def test_leaves_that_cannot_be_are_caught(give, promise):
    assert caught("allocate", giving(give)) == promise


def test_a_memory_that_runs_share_is_caught():
    class Shares(Knapsack):
        def __init__(self, params, limits):
            super().__init__(params, limits)
            self.asked_before = 0

        def open(self, seed):
            memory = super().open(seed)
            answer = memory.allocate

            def allocate(tasks, budget):
                self.asked_before += 1
                leaves = answer(tasks, budget)
                return to_the_first(leaves, tasks, budget) if self.asked_before > 100 else leaves

            memory.allocate = allocate
            return memory

    assert caught("allocate", Shares) == "Pure"


@pytest.mark.parametrize(
    "attributes", [{"asked": "end"}, {"needs": ("money",)}, {"success": "yes"}, {"most": 1}, {"least": 0}], ids=str
)
def test_allocators_of_another_shape_are_caught(attributes):
    class Shaped(Knapsack):
        def __init__(self, params, limits):
            super().__init__(params, limits)
            for name, value in attributes.items():
                setattr(self, name, value)

    assert caught("allocate", Shaped) == "Shape"


def test_memories_that_do_not_outlast_a_restart_are_caught():
    class Forgets(KnapsackAllocation):
        def changes(self):
            return {}

    class NoJson(KnapsackAllocation):
        def changes(self):
            return {"seen": {1, 2}}

    class Half:
        def __init__(self, policy):
            self.memory = KnapsackAllocation(policy)

        def allocate(self, tasks, budget):
            return self.memory.allocate(tasks, budget)

        def learn(self, task, outcome):
            self.memory.learn(task, outcome)

        def restore(self, parts):
            pass

        def explain(self, task, budget, leaves):
            return self.memory.explain(task, budget, leaves)

    for memory in (Forgets, NoJson, Half):

        class Opens(Knapsack):
            def open(self, seed, memory=memory):
                return memory(self)

        assert caught("allocate", Opens, {"predictor": "prompt"}) == "Lasts"


def test_allocations_of_a_class_with_sentences_that_do_not_say_why_are_caught():
    class Silent(KnapsackAllocation):
        explain = None

    class Elsewhere(KnapsackAllocation):
        def explain(self, task, budget, leaves):
            return because("knapsack.whim", leaves=leaves)

    for memory in (Silent, Elsewhere):

        class Opens(Knapsack):
            def open(self, seed, memory=memory):
                return memory(self)

        assert caught("allocate", Opens) == "Explains"
