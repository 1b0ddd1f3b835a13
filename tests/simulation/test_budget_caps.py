"""Each cap stops a run, a task or a tree where it should, and says why, on virtual clocks."""

import struct
from typing import Any

import pytest

from treeroll.core.model.budget import Budget
from treeroll.core.model.effects import EmitTree
from treeroll.core.model.events import AlarmRang, RunClosed, RunCreated, TasksSubmitted
from treeroll.core.model.live_tree import LiveTree, TreeStatus
from treeroll.core.model.run import TaskSpec
from treeroll.core.scheduling.assign import END_LIMIT, assign, unfinished
from treeroll.core.scheduling.runs import submit
from treeroll.core.step import alarm, apply
from treeroll.errors import RunClosed as RunClosedError
from treeroll.simulation.world import PROMPT_TOKENS, World, fingerprint
from treeroll.tree.node import BranchReason

COMPLETE, PARTIAL, FAILED = TreeStatus.COMPLETE, TreeStatus.PARTIAL, TreeStatus.FAILED
AGENT: dict[str, dict[str, object]] = {"segment": {"name": "agent_step"}}


def grown(budget: Budget, **fields: Any) -> World:
    world = World(**{"seed": 3, "leaves": 4, "max_depth": 4, "end_share": 0.0, **fields, "budget": budget})
    world.run()
    return world


def of(world: World, status: TreeStatus) -> list[LiveTree]:
    return [live for live in world.finished.values() if live.status is status]


def expansions(live: LiveTree) -> int:
    """Branches beside the initial ones that have a segment: a node's first child continues the node's own branch."""
    nodes = live.tree.nodes[1:]
    return sum(node.sibling_index > 0 for node in nodes if node.branch_reason is not BranchReason.INITIAL)


def test_leaves_are_counted_one_by_one_and_never_exceeded() -> None:
    world = grown(Budget(leaves=10), replicas=1, slots=2)
    run = world.state.runs["run"]
    assert run.counters.leaves == 10
    assert sum(len(live.tree.leaves) for live in world.finished.values()) == 10
    assert of(world, COMPLETE)
    errors = {live.error for status in (PARTIAL, FAILED) for live in of(world, status)}
    assert errors == {"the run's budget of 10 leaves is used up; raise budget.leaves"}
    assert (run.stop_reason, run.stop_detail) == ("budget", errors.pop())


def test_expansions_are_branches_beside_the_initial_ones_and_initial_ones_go_on_without() -> None:
    world = grown(Budget(expansions=3))
    trees = world.finished.values()
    assert sum(map(expansions, trees)) == 3
    assert not of(world, FAILED)
    assert all("3 expansions is used up" in live.error for live in of(world, PARTIAL))


@pytest.mark.parametrize("recipe", ["treepo", "spo", "treerl"])
@pytest.mark.parametrize("budget", [{}, {"expansions": 3}, {"leaves": 5}, {"task_tokens": 300}, {"tree_tokens": 250}])
def test_branches_that_were_cut_before_their_first_segment_are_no_forks(recipe: str, budget: dict[str, int]) -> None:
    shape = {} if recipe == "treepo" else {"leaves": 216}
    world = grown(Budget(**budget), recipe=recipe, tasks=2, **shape)
    trees = world.finished.values()
    assert world.state.runs["run"].counters.forks == sum(map(expansions, trees))
    assert budget == {} or any(live.n_censored for live in trees)


def test_tool_calls_stop_at_their_cap() -> None:
    world = grown(Budget(tool_calls=5), overrides=AGENT, recipe="flat")
    answered = [node for live in world.finished.values() for node in live.tree.nodes if node.observation]
    assert len(answered) == 5
    assert any("5 tool calls is used up" in live.error for live in world.finished.values())


@pytest.mark.parametrize("tier", ["tokens", "task_tokens", "tree_tokens"])
def test_a_branch_that_does_not_fit_waits_for_what_others_return(tier: str) -> None:
    """With room for the longest path beside what the tree takes, something always fits: nothing has to be cut."""
    one: dict[str, Any] = {"recipe": "flat", "leaves": 8, "tasks": 1, "slots": 8, "end_share": 0.05}
    free = grown(Budget(), **one)
    [cost] = (live.ledger.spent for live in free.finished.values())
    cap = cost + free.spec.max_tokens
    assert cap < 8 * free.spec.max_tokens
    world = grown(Budget(**{tier: cap}), **one)
    assert len(of(world, COMPLETE)) == 1
    assert fingerprint(world) == fingerprint(free)


def test_the_cap_of_a_tree_cuts_that_tree_only() -> None:
    free = grown(Budget(), end_share=0.01, tasks=8)
    costs = sorted(live.ledger.spent for live in free.finished.values())
    cap = costs[3]
    world = grown(Budget(tree_tokens=cap), end_share=0.01, tasks=8)
    assert all(live.ledger.spent <= cap for live in world.finished.values())
    cut = of(world, PARTIAL) + of(world, FAILED)
    assert 0 < len(cut) < 8
    assert all("the tree's budget has" in live.error and "budget.tree_tokens" in live.error for live in cut)
    assert world.state.runs["run"].stop_reason == ""


def test_the_cap_of_a_task_holds_over_its_epochs() -> None:
    [cost] = {live.ledger.spent for live in grown(Budget(), recipe="flat", tasks=2).finished.values()}
    world = grown(Budget(task_tokens=cost + cost // 2), recipe="flat", tasks=2, epochs=3)
    for number in range(2):
        trees = [live for live in world.finished.values() if live.task.task_id == f"t{number}"]
        assert sum(live.ledger.spent for live in trees) <= cost + cost // 2
        assert sum(live.status is COMPLETE for live in trees) == 1
        assert all("the task's budget has" in live.error for live in trees if live.stop_reason)


@pytest.mark.parametrize("slots", [4, 64])
@pytest.mark.parametrize("recipe", ["flat", "treepo", "pets"])
def test_leaves_go_to_trees_that_they_finish_however_many_could_grow(recipe: str, slots: int) -> None:
    """Of 100 leaves for trees of 8, twelve end whole, and one tries the rest alone."""
    world = grown(Budget(leaves=100), recipe=recipe, leaves=8, tasks=40, slots=slots, replicas=1, end_share=0.02)
    assert [len(live.tree.leaves) for live in of(world, COMPLETE)] == [8] * 12
    assert [len(live.tree.leaves) for live in of(world, PARTIAL)] == [4]
    assert world.state.runs["run"].counters.leaves == 100


def test_a_reserve_starts_no_tree_that_the_budget_does_not_finish() -> None:
    """All trees cost the same: of a budget for ten and a half, ten end whole, and one tries the rest alone."""
    [cost] = {live.ledger.spent for live in grown(Budget(), recipe="flat").finished.values()}
    world = grown(Budget(tokens=cost * 21 // 2), recipe="flat", tasks=30, slots=16)
    assert len(of(world, COMPLETE)) == 10
    assert len(of(world, PARTIAL)) == 1
    failed = of(world, FAILED)
    assert len(failed) == 19
    assert all(live.ledger.spent == 0 for live in failed)


@pytest.mark.parametrize("overruns", [False, True])
def test_tokens_come_no_faster_than_the_bucket_fills(overruns: bool) -> None:
    # The invariants hold burst + rate * t against every step; this is that the rate is used, too.
    budget = Budget(tokens_per_second=25, burst_tokens=200)
    world = grown(budget, kill_share=0.02, slots=8, overruns=overruns)
    run, seconds = world.state.runs["run"], world.now
    assert len(of(world, COMPLETE)) == 5
    assert run.ledger.spent <= 200 + 25 * seconds
    free = grown(Budget(), kill_share=0.02, slots=8).now
    assert seconds > 2 * free
    assert run.ledger.spent > 12.5 * seconds


def test_a_deadline_delivers_what_is_complete_flagged_and_ends_what_waits() -> None:
    world = grown(Budget(seconds=3.0), tasks=40, end_share=0.03)
    run = world.state.runs["run"]
    assert len(world.finished) == 40
    partial, failed = of(world, PARTIAL), of(world, FAILED)
    assert of(world, COMPLETE)
    assert partial
    why = "the run's deadline 1970-01-01T00:00:03+00:00 (3 s after its creation) passed"
    for live in partial:
        assert live.tree.leaves
        assert live.n_censored > 0
        assert live.stop_reason == "deadline"
    assert {live.error for live in partial + failed} == {why, f"{why} before this task started"}
    assert (run.stop_reason, run.stop_detail, run.deadline) == ("deadline", why, 3.0)
    with pytest.raises(RunClosedError, match=r"the run's deadline .* passed; it takes no more tasks"):
        submit(world.state, "run", [TaskSpec("new", 0, "x", struct.pack("<i", 1), "", "d")])


def test_the_earlier_of_deadline_and_seconds_counts_and_a_finished_run_has_neither() -> None:
    world = grown(Budget(seconds=1e6, deadline=2.0), tasks=40)
    assert world.state.runs["run"].stop_detail == "the run's deadline 1970-01-01T00:00:02+00:00 passed"
    done = grown(Budget(deadline=1e6))
    assert len(of(done, COMPLETE)) == 5
    assert done.state.runs["run"].stop_reason == ""


def test_waiting_tasks_end_in_slices_when_the_deadline_comes() -> None:
    world = World(budget=Budget(seconds=5.0))
    state, prompt = world.state, struct.pack(f"<{PROMPT_TOKENS}i", *range(PROMPT_TOKENS))
    tasks = [TaskSpec(f"t{n}", 0, f"tree{n}", prompt, "", "d") for n in range(3000)]
    for event in (RunCreated(world.spec), TasksSubmitted("run", tasks), RunClosed("run")):
        apply(state, event, 0.0)
    assert assign(state) == []
    assert alarm(state) == 5.0
    apply(state, AlarmRang(), 5.0)
    ended = 0
    for _ in range(10):
        effects = assign(state)
        assert len(effects) <= END_LIMIT + 2
        ended += sum(isinstance(effect, EmitTree) for effect in effects)
        if not unfinished(state):
            break
    assert ended == 3000
    assert alarm(state) is None
