"""MCPP: plans are worth what playing them out shows, and the best one's first count is what a task gets."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from treeroll.errors import InvalidInput
from treeroll.policies import registry
from treeroll.policies.allocate.futures import Ended, Futures, Left
from treeroll.policy.allocate import BudgetView, Outcome, TaskView
from treeroll.policy.base import Limits

COUNTS = (1, 4, 16)
# Whole numbers, and slots that divide them without rounding.
trees = st.builds(Ended, st.integers(0, 20), st.integers(0, 500), st.sampled_from([0.0, 0.1, 0.5, 1.0]))
# Simulations of this task and 0 to 5 later ones, as many in each.
simulations = st.integers(1, 6).flatmap(
    lambda tasks: st.lists(st.lists(trees, min_size=tasks, max_size=tasks), min_size=1, max_size=4)
)


def opened(counts=COUNTS, leaves=16, seed=1, **params):
    return registry.build("allocate", "mcpp", {"counts": counts, **params}, Limits(leaves, 32, 4, 128)).open(seed)


def task(successes=0.0, scored=0.0, name="t"):
    return TaskView(name, "", 1, successes, scored)


def told(memory, rate=0.25, tokens=100, seconds=10.0, trees=20, leaves=8):
    """Trees of one kind have ended."""
    for _ in range(trees):
        memory.learn(task(), Outcome(round(rate * leaves), leaves, tokens * leaves, seconds))
    return memory


def played(tasks, plan, left):
    """Expected number solved if each task gets its count of the plan: one after the other, each where its turn is."""
    spent = busy = solved = 0.0
    for tree, count in zip(tasks, plan, strict=True):
        spent += count * tree.tokens
        starts, busy = busy, busy + count * tree.seconds / left.slots
        ends = starts + max(tree.seconds, count * tree.seconds / left.slots)
        if spent <= left.tokens and ends <= left.seconds:
            solved += 1 - (1 - tree.rate) ** count
    return solved


def best_by_playing(drawn, left):
    """The first count of the best plan."""
    later = len(drawn[0]) - 1
    worth = {
        (count, each): math.fsum(played(tasks, [count] + [each] * later, left) for tasks in drawn)
        for count in COUNTS
        for each in COUNTS
    }
    return min(first for (first, _), solved in worth.items() if solved > max(worth.values()) - 1e-9)


@given(
    simulations,
    st.integers(0, 20_000) | st.just(math.inf),
    st.integers(0, 100) | st.just(math.inf),
    st.sampled_from([1, 2, 8, 16, 64]),
)
def test_the_best_plan_is_the_one_that_playing_all_of_them_finds(drawn, tokens, seconds, slots):
    left = Left(tokens, seconds, slots, len(drawn[0]) - 1, 1.0)
    futures = Futures(COUNTS, len(drawn))
    for number, (this, *later) in enumerate(drawn):
        futures.put(number, this, later)
    assert futures.best_count(left, None) == best_by_playing(drawn, left)
    # With a rate of its own, in all simulations.
    own = [[this._replace(rate=0.25), *later] for this, *later in drawn]
    assert futures.best_count(left, 0.25) == best_by_playing(own, left)
    # A simulation that is drawn anew leaves nothing of the old one behind; later tasks may be more than are played.
    futures.put(0, drawn[-1][0], [*drawn[-1][1:], drawn[0][0]])
    assert futures.best_count(left, None) == best_by_playing([drawn[-1], *drawn[1:]], left)


def test_a_drawn_task_stands_for_as_many_as_it_is_said_to():
    tree = Ended(8.0, 100, 0.5)
    futures = Futures(COUNTS, 1)
    futures.put(0, tree, [tree, tree])
    # All of twenty-one tasks can have four leaves, and nobody more.
    for tokens, seconds in ((8400, math.inf), (math.inf, 28.0)):
        alone, ten = (Left(tokens, seconds, 32, 2, each) for each in (1.0, 10.0))
        assert futures.best_count(alone, None) == best_by_playing([[tree] * 3], alone) == 16
        assert futures.best_count(ten, None) == best_by_playing([[tree] * 21], ten) == 4


def test_plenty_of_both_gives_the_most_and_too_little_the_least():
    memory = told(opened())
    assert memory.allocate([task()], BudgetView(10**9, 1e9, 100.0, 10, 64)) == [16]
    assert memory.allocate([task()], BudgetView(50, 1e9, 100.0, 10, 64)) == [1]
    assert memory.allocate([task()], BudgetView(10**9, 1.0, 100.0, 10, 64)) == [1]
    assert memory.allocate([task()], BudgetView(0, 0.0, 100.0, 10, 64)) == [1]


def test_a_scarce_budget_is_left_to_the_tasks_that_follow():
    # Tokens for 40 leaves: ten tasks of four, not two of sixteen.
    assert told(opened()).allocate([task()], BudgetView(4000, None, 100.0, 10, 64)) == [4]
    assert told(opened()).allocate([task()], BudgetView(4000, None, 100.0, 2, 64)) == [16]


def test_a_near_deadline_is_left_to_the_tasks_that_follow():
    # Ten tasks of four leaves of ten seconds on eight branches take fifty seconds.
    assert told(opened()).allocate([task()], BudgetView(None, 55.0, 100.0, 10, 8)) == [4]
    assert told(opened()).allocate([task()], BudgetView(None, 500.0, 100.0, 10, 8)) == [16]


def test_a_tasks_own_history_goes_before_that_of_others():
    memory = told(opened())
    scarce = BudgetView(4000, None, 100.0, 10, 64)
    assert memory.allocate([task(16, 16)], scarce) == [1]  # one leaf will do
    assert memory.allocate([task(0, 16)], scarce) == [1]  # none will
    assert memory.allocate([task(2, 16)], scarce)[0] > 1


def test_before_a_tree_has_ended_tasks_get_the_runs_leaves():
    view = BudgetView(10**6, 60.0, 100.0, 10, 8)
    assert opened().allocate([task()], view) == [16]
    assert opened(leaves=8).allocate([task()], view) == [8]
    memory = opened()
    memory.learn(task(), Outcome(0, 0, 500, 3.0))  # nobody scored it
    assert memory.allocate([task()], view) == [16]


def test_counts_above_the_runs_leaves_are_its_leaves():
    policy = registry.build("allocate", "mcpp", {}, Limits(10, 32, 4, 128))
    assert (policy.counts, policy.least, policy.most) == ([1, 4, 10], 1, 10)


def test_tasks_that_are_left_stand_behind_the_drawn_ones():
    # 1,000 tasks are left, and tokens for four leaves each.
    memory = told(opened())
    assert memory.allocate([task()], BudgetView(400_000, None, 100.0, 1000, 64)) in ([4], [16])
    assert memory.allocate([task()], BudgetView(100_000, None, 100.0, 1000, 64)) in ([1], [4])
    lonely = told(opened()).allocate([task()], BudgetView(400_000, None, 100.0, 1, 64))
    assert lonely == [16]


def test_draws_are_those_of_the_seed():
    def asked(seed):
        memory = told(told(opened(seed=seed), 0.1, 300, 40.0), 0.9, 50, 2.0)
        return [memory.allocate([task()], BudgetView(9000, 300.0, 100.0, 30, 16))[0] for _ in range(30)]

    assert asked(1) == asked(1)


@pytest.mark.parametrize("counts", [(), (0, 4), (4, 1), (4, 4), (1, 5000), tuple(range(1, 20))])
def test_counts_that_do_not_ascend_are_refused(counts):
    with pytest.raises(InvalidInput, match="allocate policy 'mcpp': counts"):
        opened(counts=counts)


def test_it_needs_a_budget_or_a_deadline():
    assert registry.build("allocate", "mcpp", {}, Limits(8, 32, 4, 128)).needs == ("tokens", "seconds")
