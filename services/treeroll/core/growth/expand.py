"""Decisions become branches: forks where a node ends, splits inside of it, and held branches that go on."""

from collections.abc import Sequence

from treeroll.core.growth.start_order import grant_name
from treeroll.core.guard import calls
from treeroll.core.model.branch import Branch, BranchEvent
from treeroll.core.model.effects import Told
from treeroll.core.model.live_tree import LiveTree, PathEnd
from treeroll.core.model.state import State
from treeroll.policy.base import Expansion
from treeroll.tree.node import BranchReason, Decision, Node
from treeroll.tree.rng import hash64
from treeroll.tree.tree import SPLIT, path_name
from treeroll.why import START, Why, because

# Looked up for every expansion, see node.LEAF.
RETROSPECTIVE = Decision.RETROSPECTIVE
INITIAL = BranchReason.INITIAL


def expand(state: State, live: LiveTree, expansions: Sequence[Expansion]) -> None:
    """Turn decisions, which can be carried out, into branches. Sibling indices follow the order of the decisions."""
    tree, own = live.tree, live.task.model
    for expansion in expansions:
        if live.held and expansion.resume and expansion.node in live.held:
            branch = resume(state, live, expansion.node)
            if expansion.decision is RETROSPECTIVE:
                branch.decision = RETROSPECTIVE
        if not expansion.forks:
            if expansion.why is not None and not expansion.resume:
                _let_end(state, live, expansion.node, expansion.why)
            continue
        node, model = tree.nodes[expansion.node], expansion.model or own
        if model != own:
            state.sent = True
        inserted = calls.encode(state, live, expansion.insert) if expansion.insert else None
        if expansion.insert and inserted is None:
            return
        why = expansion.why or (_start(expansion) if expansion.reason is INITIAL else None)
        for _ in range(expansion.forks):
            branch = (
                _fork(live, node, expansion)
                if expansion.split_at is None
                else _split(live, node, expansion.split_at, expansion)
            )
            if inserted is not None:
                branch.insert(inserted)
            branch.why = why
            _vary(live, branch, expansion, model)
            if len(branch.boundaries) <= branch.depth:  # no room for a token
                live.n_censored += 1
                continue
            live.branches[branch.number] = branch
            live.started += 1
            live.active += 1
            _want(state, live, branch)


def _want(state: State, live: LiveTree, branch: Branch) -> None:
    """A new branch waits for a replica."""
    state.wanted.append((live, branch))
    if state.settings.tells:
        state.told.append(Told("forked", live, grant_name(live, branch), branch.why, branch.reason))


def _let_end(state: State, live: LiveTree, node: int, why: Why) -> None:
    live.note_end(PathEnd(node, why))
    if state.settings.tells:
        state.told.append(Told("let_end", live, path_name(live.tree.path(node)), why))


def _start(expansion: Expansion) -> Why:
    """Of first branches, where the policy says no more."""
    return because(START, branches=expansion.forks)


def resume(state: State, live: LiveTree, node: int) -> Branch:
    """The branch that is held at the node goes on."""
    branch = live.branches[live.held.pop(node)]
    branch.apply(BranchEvent.RESUME)
    live.active += 1
    state.wanted.append((live, branch))
    return branch


def _vary(live: LiveTree, branch: Branch, expansion: Expansion, model: str) -> None:
    """Give a new branch what sets it apart from its tree: its model, temperature, length and boundaries."""
    branch.group = expansion.group
    if model:
        branch.model, branch.seed = model, hash64(branch.seed, model)
    if expansion.temperature_scale != 1.0:
        branch.temperature = live.run.spec.sampling.temperature * expansion.temperature_scale
    if expansion.max_tokens is not None and expansion.max_tokens < live.run.spec.max_tokens:
        branch.max_tokens = expansion.max_tokens
    branch.boundaries = _narrowed(live, branch)


def _fork(live: LiveTree, node: Node, expansion: Expansion) -> Branch:
    """A branch that begins where the node ends."""
    branch = Branch(
        live.started,
        node.number,
        node.total,
        node.depth,
        node.path_logprob_sum,
        node.fanout,
        expansion.reason,
        expansion.decision,
        live.boundaries,
    )
    branch.seed = hash64(live.tree.seed, path_name(live.tree.path(node.number)), node.fanout)
    branch.tail = None if node.number else ""
    node.fanout += 1
    return branch


def _split(live: LiveTree, node: Node, kept: int, expansion: Expansion) -> Branch:
    """A branch that begins after the node's first `kept` tokens."""
    tree = live.tree
    index = tree.splits.get((node.number, kept), 1)
    tree.splits[node.number, kept] = index + 1
    branch = Branch(
        live.started,
        node.number,
        node.token_start + kept,
        node.depth - 1,
        node.path_logprob_sum - (sum(node.tokens.logprobs[kept:]) if node.tokens else 0.0),
        index,
        expansion.reason,
        expansion.decision,
        live.boundaries,
    )
    branch.seed = hash64(tree.seed, path_name((*tree.path(node.number), SPLIT - kept)), index)
    return branch


def _narrowed(live: LiveTree, branch: Branch) -> list[int]:
    """The tree's boundaries, up to the branch's limit and without those that what is inserted has passed.

    Total lengths for depth 1, 2, ...; none for the branch's next depth if it has no room for a token. Branches for
    which nothing changes share the tree's list.
    """
    ends, depth = live.boundaries, branch.depth
    if branch.max_tokens is not None:
        ends = _limited(live, live.tree.root.n_tokens + branch.max_tokens)
    if depth >= len(ends) or branch.position < ends[depth]:
        return ends
    return [*ends[:depth], *(end for end in ends[depth:] if end > branch.position)]


def _limited(live: LiveTree, longest: int) -> list[int]:
    ends = live.boundaries
    if longest >= ends[-1]:
        return ends
    if live.run.spec.segment.delimiter is not None:
        return [longest] * len(ends)
    return [*(end for end in ends if end < longest), longest]
