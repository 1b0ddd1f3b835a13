"""What consumers of a run may still expect, and in one sentence why nothing comes."""

from treeroll.core.budget.blocked import refusal
from treeroll.core.model.pool import Pool
from treeroll.core.model.run import Outlook, Run, RunState
from treeroll.core.model.state import State
from treeroll.core.scheduling import runs
from treeroll.core.scheduling.publication import held_back

# Tasks in a row that end without a sample before nobody believes in the next one any more.
FAILING_TASKS = 64


def outlook(state: State, run_id: str) -> Outlook:
    """What to expect of a run, or UnknownRun."""
    run = runs.get(state, run_id)
    return run.outlook(state.draining, stuck(run))


def stuck(run: Run) -> str:
    """Why nothing of a run will grow that has a sample, however long one waits; "" if something may.

    A run that takes no more tasks comes to its end by itself, so whoever waits for it is told by that.
    """
    if run.state is not RunState.OPEN:
        return ""
    if run.failing >= FAILING_TASKS:
        return f"the last {run.failing} tasks all ended without a sample, the latest because {run.failure}"
    if run.missing and not run.waiting and not run.growing:
        return run.missing
    if run.waiting or run.growing or run.stop_reason != "budget":
        return ""
    longest = run.spec.max_tokens
    for ledger in (run.ledger, *run.counts):
        need = longest if ledger is run.ledger else 1
        if ledger.key != "expansions" and not ledger.fits(need):  # trees grow without expansions
            return refusal(ledger, need)
    return ""


def held_up(state: State, run: Run) -> str:
    """Why no tree of a run starts just now, although tasks wait; "" if they may."""
    if not run.waiting:
        return ""
    if state.draining:
        return "the service drains"
    if state.store_full:
        return "the store is almost full"
    if held_back(state, run):
        return "weights were published, and wait until the trees that grow have ended"
    if run.pace is not None and run.pace.full:
        name, owed = run.pace.slowest()
        whom = f"group '{name}' has {owed} trees to acknowledge" if name else "no group acknowledges any"
        return f"all {run.pace.ahead} places of ahead are taken: {whom}"
    return ""


def goes_on(run: Run) -> bool:
    """Whether the run may want a replica: it takes tasks, or has some."""
    return run.state is RunState.OPEN or run.growing > 0 or len(run.waiting) > 0


def startable(state: State, pool: Pool) -> int:
    """How many tasks would have a tree in the pool if it had the slots, as far as drains, `ahead` and token budgets are
    concerned. Of a run with a route each of its models is taken to get an equal share of what is not sent yet."""
    if state.draining or state.store_full:
        return 0
    return sum(_startable(run, pool) for run in state.runs.values() if run.waiting and pool.name in run.spec.models)


def _startable(run: Run, pool: Pool) -> int:
    waiting = run.waiting
    tasks = (len(waiting.open) + len(waiting.asked)) // len(run.spec.models) + len(waiting.sent.get(pool.name, ()))
    if run.pace is not None:
        tasks = min(tasks, max(len(waiting.asked), run.pace.ahead - run.pace.taken))
    if (room := run.ledger.room) is not None:
        tasks = min(tasks, max(0, int(room // run.tokens_per_tree())))
    return tasks


def waits_for_group(run: Run) -> str:
    """The group without whose acknowledgements no tree of a run starts; "" if there is none."""
    return run.pace.slowest()[0] if run.waiting and run.pace is not None and run.pace.full else ""
