"""One tree, grown again: its stored nodes and journal go through the growth that they came from.

Growth is pure in tree and seed, so the same nodes in the same order make the same tree, branches and memory of the
policy. Every node is compared with its record. What ran and what waited for a slot is the same here: nobody knows.
"""

from dataclasses import replace

from msgspec import structs

from treeroll.core.budget.accounts import open_tree
from treeroll.core.growth.expand import expand
from treeroll.core.growth.lifecycle import (
    ask_idle,
    cut_branch,
    lose_grant,
    show_judged,
    stop_branches,
    stop_growing,
    take_segment,
)
from treeroll.core.growth.segment import check_report
from treeroll.core.growth.timeouts import decide
from treeroll.core.guard import calls
from treeroll.core.model.branch import Branch, BranchEvent, BranchState
from treeroll.core.model.budget import NO_BUDGET
from treeroll.core.model.events import SegmentReported
from treeroll.core.model.journal import (
    Abstained,
    Asked,
    Carried,
    Cut,
    Ended,
    Entry,
    Faulted,
    Judged,
    Lost,
    Overtaken,
    Planted,
    Reported,
    TimedOut,
)
from treeroll.core.model.live_tree import LiveTree
from treeroll.core.model.run import Counters, Run
from treeroll.core.model.state import CoreSettings, State
from treeroll.core.recovery.remains import Damaged, NodeRemains, TreeRemains
from treeroll.core.scheduling.admit import seedling
from treeroll.errors import TreerollError
from treeroll.tree.node import Node, shared_origin
from treeroll.tree.tree import TAIL_CHARS

# Whether a branch is given up, and what an account has room for, is in the journal: replay does not decide it.
ENDLESS = 1 << 60
AWAKE = (BranchState.PENDING, BranchState.RUNNING)


class Replay:
    """A tree on its way back, in a state of its own: what goes wrong with it touches nothing else."""

    def __init__(self, settings: CoreSettings, run: Run, remains: TreeRemains) -> None:
        """The tree as it was planted."""
        self.state = State(replace(settings, max_attempts=ENDLESS, tells=False))
        alone = Run(replace(run.spec, budget=NO_BUDGET), boundaries=run.boundaries, counters=Counters())
        self.live = _plant(self.state, alone, remains)
        self._rewards = remains.rewards
        # Of each node: what it holds, and of one that begins inside its parent, how much of that comes before it.
        self._texts: dict[int, str] = {0: ""}
        self._cuts: dict[int, int] = {}

    def take(self, what: NodeRemains | Entry) -> None:
        """The next thing that became of the tree. Damaged if it cannot be."""
        if isinstance(what, NodeRemains):
            self._add(what)
        else:
            self._note(what)

    def finish(self) -> LiveTree:
        """All is told: the tree as its coordinator had it, but that nobody knows what ran and what waited."""
        live = self.live
        for leaf in live.tree.leaves:
            if leaf in self._rewards and leaf not in live.tree.rewards:
                live.tree.rewards[leaf] = self._rewards[leaf]
        if live.stop_reason and live.active == 0:
            stop_growing(live)
        return live

    def _add(self, stored: NodeRemains) -> None:
        live = self.live
        branch = self._branch_of(stored)
        report = stored.report
        self._grant(branch, report.replica_id, report.incarnation, stored.attempt)
        inserted = len(branch.inserted.text) if branch.inserted is not None else 0
        report = structs.replace(
            report,
            grant=branch.grant,
            text=stored.text[inserted : len(stored.text) - stored.observation_chars],
            tail=self._tail(stored) if branch.tail is None else "",
        )
        check_report(live, branch, report)
        take_segment(self.state, live, branch, report)
        node = live.tree.nodes[-1]
        self._texts[node.number] = stored.text
        if stored.parent_chars is not None:
            self._cuts[node.number] = stored.parent_chars
        _compare(node, stored)

    def _branch_of(self, stored: NodeRemains) -> Branch:
        for branch in self.live.branches.values():
            at = branch.tip, branch.total, 0 if branch.started else branch.sibling_index
            if at == (stored.parent, stored.token_start, stored.sibling_index) and branch.state in AWAKE:
                return branch
        raise Damaged(
            f"no branch makes node {len(self.live.tree.nodes)}, number {stored.sibling_index} below node "
            f"{stored.parent} from token {stored.token_start} on"
        )

    def _tail(self, stored: NodeRemains) -> str:
        """The end of the completion before a branch's first node, as its replica told it."""
        tail, number, kept = "", stored.parent, stored.parent_chars
        while number != 0 and len(tail) < TAIL_CHARS:
            tail = self._texts[number][:kept] + tail
            kept, number = self._cuts.get(number), self.live.tree.nodes[number].parent
        return tail[-TAIL_CHARS:]

    def _grant(self, branch: Branch, replica_id: str = "", incarnation: int = 0, attempt: int = 0) -> None:
        """Whoever served the branch: it runs."""
        if branch.state is not BranchState.PENDING:
            return
        live, state = self.live, self.state
        for account in live.accounts:
            account.reserve(branch.need)
        branch.reserved, branch.overrun = branch.need, 0
        branch.apply(BranchEvent.GRANT)
        branch.grant, branch.origin = state.next_grant, shared_origin(
            replica_id, incarnation, attempt or branch.failures + 1, branch.reason, branch.decision, branch.group,
            branch.temperature, branch.max_tokens, None if branch.model == live.task.model else branch.model,
        )  # fmt: skip
        state.next_grant += 1
        state.grants[branch.grant] = live, branch

    def _note(self, entry: Entry) -> None:  # noqa: C901  # one case an entry
        live, state = self.live, self.state
        match entry:
            case Reported():
                self._report(entry)
            case Lost(number, refused):
                if (branch := live.branches.get(number)) is not None:
                    self._grant(branch)
                    if refused:
                        branch.refuse(refused)
                    lose_grant(state, live, branch)
            case Cut(number, reason, error, why):
                cut_branch(live, self._known(number), reason, error, why)
            case Ended(reason, error, waiting):
                for branch in live.branches.values():
                    if branch.number not in waiting:
                        self._grant(branch)
                stop_branches(state, live, reason, error)
            case Asked():
                self._ask()
            case TimedOut():
                if live.timeout_s is None:
                    raise Damaged("its policy has no timeout, and it timed out")
                decide(state, live, calls.on_timeout(state, live))
            case Judged(node, value):
                # Its path may be held no more: judges answer trees that have been stopped, too.
                if not 0 < node < len(live.tree.nodes) or node in live.tree.values:
                    raise Damaged(f"node {node} was judged, and there is none, or it was judged before")
                show_judged(state, live, node, value)
            case Abstained(leaf):
                live.tree.rewards[leaf] = None
                live.abstained.add(leaf)
            case Faulted():
                live.faults += 1
            case Overtaken(version):
                live.sampled_by = version
            case Planted() | Carried():
                raise Damaged("it was planted twice")

    def _report(self, told: Reported) -> None:
        """What made no node. Of a branch that is gone only what it spent counts."""
        live = self.live
        branch = live.branches.get(told.branch)
        if branch is None:
            live.ledger.exceed(told.tokens)
            live.ledger.settle(told.tokens)
            live.late_tokens += told.tokens
            return
        self._grant(branch, told.replica_id)
        report = SegmentReported(branch.origin.replica_id, branch.origin.incarnation, branch.grant, 0)
        report.end, report.dropped_tokens = told.end, told.tokens
        take_segment(self.state, live, branch, report)

    def _ask(self) -> None:
        live = self.live
        if live.active or live.grown:
            raise Damaged(f"its policy was asked as nothing ran, and {live.active} branches do")
        if live.run.spec.reads_rewards:
            for leaf in live.tree.leaves:
                if leaf not in live.tree.rewards:
                    live.tree.rewards[leaf] = self._rewards[leaf]
        ask_idle(self.state, live)

    def _known(self, number: int) -> Branch:
        try:
            return self.live.branches[number]
        except KeyError:
            raise Damaged(f"it has no branch {number}") from None


def replay(settings: CoreSettings, run: Run, remains: TreeRemains) -> Replay:
    """Grow a tree again. Damaged, which names the tree, if what is stored of it does not fit together.

    The tree's run is a stand-in: whoever takes the tree gives it its own.
    """
    try:
        grown = Replay(settings, run, remains)
        for what in remains.history:
            grown.take(what)
        if (failure := grown.live.failure) is not None and not any(isinstance(w, Ended) for w in remains.history):
            raise failure
        grown.finish()
    except Exception as error:  # a record that cannot be, or a policy that answers otherwise than before
        said = str(error) if isinstance(error, Damaged | TreerollError) else f"{type(error).__name__}: {error}"
        raise Damaged(f"tree {remains.task.tree_id} cannot be grown again: {said}") from error
    return grown


def _plant(state: State, run: Run, remains: TreeRemains) -> LiveTree:
    planted = remains.planted
    task = replace(
        remains.task,
        model=planted.model,
        leaves=planted.leaves,
        view=planted.view,
        allotted_by=planted.allotted_by,
    )
    live = seedling(state, run, task, planted.block_size, planted.max_model_len)
    live.admitted, live.home, live.planted_at = planted.admitted, planted.home, planted.at
    live.weight_version, live.charge, live.promised = planted.weight_version, planted.charge, planted.promised
    live.placed, live.asked, live.first_grant = planted.placed, planted.asked, planted.first_grant
    open_tree(live)
    live.ledger.granted = live.ledger.spent = remains.carried
    state.trees[live.tree_id] = live
    expand(state, live, calls.start(state, live))
    return live


def _compare(node: Node, stored: NodeRemains) -> None:
    """Two growths of a tree must never be mixed."""
    made = node.status, node.stop_reason, node.sibling_index, node.depth, node.n_tokens
    told = stored.status, stored.stop_reason, stored.sibling_index, stored.depth, stored.n_tokens
    if made != told:
        raise Damaged(f"node {node.number} is {_said(made)}, its record is {_said(told)}")


def _said(figures: tuple[object, ...]) -> str:
    status, reason, index, depth, tokens = figures
    return f"'{status}' ({reason or 'no reason'}), number {index} at depth {depth} with {tokens} tokens"
