"""Which accounts a grant reserves in: those of its run, its task and its tree."""

from treeroll.core.model.branch import Branch
from treeroll.core.model.ledger import Ledger
from treeroll.core.model.live_tree import LiveTree
from treeroll.core.model.run import Run
from treeroll.core.model.token_bucket import Bucket
from treeroll.tree.node import BranchReason

# What is counted one by one, in accounts that only exist where there is a cap.
COUNTED = ("leaves", "expansions", "tool_calls")


def open_run(run: Run, now: float) -> None:
    """The accounts of a new run, by its budget."""
    budget = run.spec.budget
    run.capped = budget.blocks
    run.ledger.cap = budget.tokens
    run.counts = tuple(Ledger(key, cap) for key in COUNTED if (cap := getattr(budget, key)) is not None)
    run.bucket = Bucket.full(budget, now)


def open_tree(live: LiveTree) -> None:
    """The token accounts of a new tree, the narrowest first."""
    run, budget, task_id = live.run, live.run.spec.budget, live.task.task_id
    live.ledger.key, live.ledger.cap = "tree_tokens", budget.tree_tokens
    accounts: list[Ledger | Bucket] = [live.ledger]
    if budget.task_tokens is not None:
        accounts.append(run.task_ledgers.setdefault(task_id, Ledger("task_tokens", budget.task_tokens)))
    accounts.append(run.ledger)
    if run.bucket is not None:
        accounts.append(run.bucket)
    live.accounts = tuple(accounts)


def charge_task(run: Run, task_id: str, spent: int) -> None:
    """A tree of the task took this under an earlier coordinator, if the run's budget caps tasks."""
    if (cap := run.spec.budget.task_tokens) is not None:
        ledger = run.task_ledgers.setdefault(task_id, Ledger("task_tokens", cap))
        ledger.granted, ledger.spent = ledger.granted + spent, ledger.spent + spent
        ledger.excess = max(ledger.excess, ledger.spent - cap)


def claims(live: LiveTree, branch: Branch) -> tuple[Ledger, ...]:
    """The accounts of things counted of which a grant of the branch may need one."""
    return tuple(ledger for ledger in live.run.counts if _needs(ledger.key, live, branch))


def _needs(key: str, live: LiveTree, branch: Branch) -> bool:
    match key:
        case "expansions":
            return not branch.started and branch.reason is not BranchReason.INITIAL
        case "tool_calls":
            return live.run.spec.segment.tool is not None
        case _:  # any branch may end at a leaf
            return True
