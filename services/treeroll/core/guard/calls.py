"""Every call of a policy, and of a tool, by the core. What one raises, or says that cannot be, costs what it was asked
about, and nothing else.

Who asks gets an answer that changes nothing, and carries on: nothing is ever half done. A tree that a policy has failed
is marked, and waits in `state.broken` for its end. What is asked for a run as a whole is answered as each function
says. All of it is counted in the run's `policy_errors`.
"""

from collections.abc import Mapping, Sequence
from math import isfinite
from operator import index
from typing import Any, Final

from treeroll.core.guard import memories
from treeroll.core.guard.expansions import Impossible, checked
from treeroll.core.model.live_tree import LiveTree
from treeroll.core.model.pool import Pool
from treeroll.core.model.run import Run, TaskSpec
from treeroll.core.model.state import State
from treeroll.errors import PolicyFailed
from treeroll.policy.allocate import BudgetAllocator, BudgetView, Explains, Outcome, TaskView
from treeroll.policy.base import (
    AdvantageEstimator,
    CreditTree,
    Ended,
    Expansion,
    HasTimeout,
    Segment,
    Verdict,
)
from treeroll.policy.route import ModelView
from treeroll.tree.node import LEAF, PRUNED, Node, Observation, StopReason
from treeroll.why import Why

# Looked up for every segment, see node.LEAF.
NOT_ENDED = Ended.NO
# Of a path that ended and was not judged: it is no sample.
UNJUDGED: Final = Verdict(PRUNED, StopReason.LOST)
MAX_REASON_CHARS: Final = 500


def grow(state: State, live: LiveTree) -> None:
    """Give a new tree its growth."""
    try:
        policy = live.run.spec.growth_of(live.task)
        live.most_leaves = policy.max_leaves
        growth = policy.grow(live.tree)
        if isinstance(growth, HasTimeout) and (timeout_s := growth.timeout_s) is not None:
            if not timeout_s >= 0:
                raise Impossible(f"has timeout_s {timeout_s!r}")
            live.timeout_s = timeout_s
        live.growth = growth
    except Exception as error:
        _break(state, live, "branch", live.run.spec.branch, error)


def most_leaves(state: State, run: Run, task: TaskSpec) -> int:
    """How many the growth of a task that does not start would have made; 0 if its policy cannot say."""
    try:
        return run.spec.growth_of(task).max_leaves
    except Exception as error:
        _failed(state, run, "branch", run.spec.branch, error)
        return 0


def boundaries(state: State, live: LiveTree, prompt_tokens: int, block_size: int, longest: int) -> list[int]:
    """Where segments of the tree end; nowhere if its policy cannot say."""
    policy = live.run.spec.segment
    try:
        ends = list(map(index, policy.boundaries(prompt_tokens, block_size, longest)))
        before = prompt_tokens
        for end in ends:
            if end > longest or end < before + (policy.delimiter is None):
                raise Impossible(f"puts a boundary at {end} of {longest} tokens, behind one at {before}")
            before = end
    except Exception as error:
        _break(state, live, "segment", policy, error)
        return []
    return ends


def start(state: State, live: LiveTree) -> Sequence[Expansion]:
    """First branches."""
    try:
        return checked(state, live, live.growth.start(live.tree))
    except Exception as error:
        _break(state, live, "branch", live.run.spec.branch, error)
        return ()


def on_node(state: State, live: LiveTree, node: Node) -> Sequence[Expansion]:
    """What follows from a new node."""
    try:
        expansions = live.growth.on_node(live.tree, node)
        return checked(state, live, expansions) if expansions else ()
    except Exception as error:
        _break(state, live, "branch", live.run.spec.branch, error)
        return ()


def on_idle(state: State, live: LiveTree) -> Sequence[Expansion]:
    """What follows if nothing runs."""
    try:
        return checked(state, live, live.growth.on_idle(live.tree))
    except Exception as error:
        _break(state, live, "branch", live.run.spec.branch, error)
        return ()


def on_timeout(state: State, live: LiveTree) -> Sequence[Expansion]:
    """What follows if others have taken too long. Only of a tree with a timeout."""
    try:
        growth: Any = live.growth
        return checked(state, live, growth.on_timeout(live.tree))
    except Exception as error:
        _break(state, live, "branch", live.run.spec.branch, error)
        return ()


def encode(state: State, live: LiveTree, text: str) -> Observation | None:
    """A text that the branch policy inserts; None if it is none that a tokenizer can write."""
    try:
        return state.settings.encode(text)
    except Exception as error:
        _break(state, live, "branch", live.run.spec.branch, error)
        return None


def judge(state: State, live: LiveTree, segment: Segment) -> Verdict | None:
    """The verdict on a segment. One that ended its path has one in any case."""
    policy = live.run.spec.prune
    try:
        verdict = policy.judge(segment)
        if verdict is None:
            if segment.ended is NOT_ENDED:
                return None
            raise Impossible(f"lets a path go on that has ended ({segment.ended})")
        if (verdict.status is LEAF or verdict.status is PRUNED) and isinstance(verdict.reason, StopReason):
            return verdict
        raise Impossible(f"judges {verdict!r}, which is no verdict")
    except Exception as error:
        _break(state, live, "prune", policy, error)
        return None if segment.ended is NOT_ENDED else UNJUDGED


def observe(state: State, live: LiveTree, text: str, calls: int) -> Observation | None:
    """What the run's tool answers to the call that the text ends with, the path's `calls`-th; None if it fails."""
    policy = live.run.spec.segment
    tool = policy.tool
    if tool is None:
        return None
    try:
        remark: Any = policy.remark(calls)
        if not isinstance(remark, str):
            raise Impossible(f"remarks {remark!r}, which is no text")
    except Exception as error:
        _break(state, live, "segment", policy, error)
        return None
    try:
        return state.settings.observe(tool, text, remark)
    except Exception as error:
        _break(state, live, "tool", tool, error)
        return None


def advantages(estimator: AdvantageEstimator, tree: CreditTree) -> dict[int, tuple[float, ...]]:
    """Credit of scored leaves, one number per path node. PolicyFailed if there is none."""
    try:
        found = estimator.estimate(tree)
        if found.keys() != tree.rewards.keys():
            raise Impossible(f"credits leaves {sorted(found)}, scored are {sorted(tree.rewards)}")
        for leaf, values in found.items():
            if len(values) != len(tree.paths[leaf]) or not all(map(isfinite, values)):
                raise Impossible(f"gives leaf {leaf} {values!r}, for a path of {len(tree.paths[leaf])} nodes")
    except Exception as error:
        raise PolicyFailed(_said("advantage", estimator, error)) from error
    return found


def allotted(
    state: State, run: Run, allocator: BudgetAllocator, tasks: Sequence[TaskView], budget: BudgetView
) -> list[tuple[int, Why | None]]:
    """Leaves for each of the tasks, and why if it says so. PolicyFailed if the allocator has none for them."""
    try:
        if run.allocation is None:
            run.allocation = memories.opened(allocator, run.spec.seed, "allocate")
            memories.note_opened(state, run, memories.ALLOCATE)
        leaves = list(map(index, run.allocation.allocate(tasks, budget)))
        least, most = allocator.least, allocator.most
        if len(leaves) != len(tasks) or not all(least <= n <= most for n in leaves):
            raise Impossible(f"gives {len(tasks)} tasks {leaves[:8]} leaves, each should have {least} to {most}")
        memories.note(state, run, memories.ALLOCATE, run.allocation)
        explain = run.allocation.explain if isinstance(run.allocation, Explains) else _no_reason
        return [(n, explain(task, budget, n)) for task, n in zip(tasks, leaves, strict=True)]
    except Exception as error:
        raise _failed(state, run, "allocate", allocator, error) from error


def _no_reason(task: TaskView, budget: BudgetView, leaves: int) -> Why | None:
    """Of an allocator that does not say why."""
    return None


def routed(state: State, run: Run, task: TaskView, budget: BudgetView, models: Mapping[str, ModelView]) -> str:
    """The model that grows the task's tree. PolicyFailed if the route has none for it."""
    route = run.spec.route
    try:
        if run.routing is None and route is not None:
            run.routing = memories.opened(route, run.spec.seed, "route")
            memories.note_opened(state, run, memories.ROUTE)
        model = "" if run.routing is None else run.routing.route(task, budget, models)
        if model not in run.uses:
            raise Impossible(f"names model {model!r}, none of the run's")
        memories.note(state, run, memories.ROUTE, run.routing)
    except Exception as error:
        raise _failed(state, run, "route", route, error) from error
    return model


def learn(state: State, run: Run, task: TaskView, outcome: Outcome, model: str) -> None:
    """Tell allocator and route how a tree ended. One that fails at it goes on without having learnt of this tree."""
    if run.allocation is not None:
        try:
            run.allocation.learn(task, outcome)
            memories.note(state, run, memories.ALLOCATE, run.allocation)
        except Exception as error:
            _failed(state, run, "allocate", run.spec.allocate, error)
    if run.routing is not None:
        try:
            run.routing.learn(task, outcome, model)
            memories.note(state, run, memories.ROUTE, run.routing)
        except Exception as error:
            _failed(state, run, "route", run.spec.route, error)


def home(state: State, run: Run, pool: Pool, parent: str, names: list[str]) -> str | None:
    """Which of the replicas `names` a branch waits for; None, whichever is free first, also if placement fails."""
    placement = state.settings.placement
    try:
        chosen = placement.home(parent, names, pool.placements)
        if chosen is not None and chosen not in pool.replicas:
            raise Impossible(f"chooses {chosen!r}, none of {len(names)} replicas that are ready")
    except Exception as error:
        _failed(state, run, "placement", placement, error)
        return None
    return chosen


def _failed(state: State, run: Run, kind: str, policy: object, error: Exception) -> PolicyFailed:
    """Count it, and say it in one sentence."""
    failure = PolicyFailed(_said(kind, policy, error))
    failure.__cause__ = error
    count(state, run, failure)
    return failure


def count(state: State, run: Run, failure: PolicyFailed) -> None:
    """A policy of the run has failed."""
    run.counters.policy_errors += 1
    run.policy_error = str(failure)
    state.failed[run.spec.run_id] = run


def _break(state: State, live: LiveTree, kind: str, policy: object, error: Exception) -> None:
    break_tree(state, live, _failed(state, live.run, kind, policy, error))


def break_tree(state: State, live: LiveTree, failure: PolicyFailed) -> None:
    """A policy has failed the tree: nobody is asked any more, and it waits for its end."""
    if live.failure is None:
        live.failure = failure
        live.stop_reason, live.error = live.stop_reason or "lost", live.error or str(failure)
        state.broken.append(live)


def _said(kind: str, policy: object, error: Exception) -> str:
    name = getattr(policy, "name", type(policy).__name__)
    said = " ".join(str(error).split())
    if not isinstance(error, Impossible):
        said = f"failed: {type(error).__name__}: {said}{_place(error)}"
    return f"{kind}{'' if kind == 'tool' else ' policy'} '{name}' {said}"[:MAX_REASON_CHARS]


def _place(error: Exception) -> str:
    """Where it was raised, for whoever has to mend it."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    if trace is None:
        return ""
    return f" ({trace.tb_frame.f_code.co_filename.rpartition('/')[2]}, line {trace.tb_lineno})"
