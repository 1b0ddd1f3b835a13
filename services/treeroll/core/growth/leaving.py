"""How trees leave: judged, counted, and into the feed."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from treeroll.core.growth.credit import give_credit
from treeroll.core.growth.filters import dropped
from treeroll.core.model.effects import Effect, EmitTree, ForgetTree, PersistTree
from treeroll.core.model.live_tree import LiveTree, TreeStatus
from treeroll.core.model.run import Run
from treeroll.core.model.state import State
from treeroll.tree.node import INNER, Node

# What a tree is dropped by whose credit nobody can work out, for its advantage policy failed.
WITHOUT_CREDIT = "advantage"


def finish(state: State, live: LiveTree) -> list[Effect]:
    """The tree has grown and every leaf is scored: judge it, and let it leave."""
    run = live.run
    if not live.tree.leaves:
        live.status = TreeStatus.FAILED
        without_room = live.n_censored and len(live.tree.nodes) == 1
        why = "no path had room for a token" if without_room else "no path reached a complete leaf"
        live.error = live.error or why
    else:
        live.status = TreeStatus.PARTIAL if live.stop_reason else TreeStatus.COMPLETE
        _filter(state, live)
    _count(live)
    run.growing -= 1
    state.pools[live.task.model].trees -= 1
    del state.trees[live.tree_id]
    live.ended_at = state.now
    state.ended.append(live)
    return [*leave(live), *(ForgetTree(*replica, live.tree_id) for replica in live.served)]


def leave(live: LiveTree) -> list[Effect]:
    """Record that the tree ended. Its terminal event follows at once, or when it is its turn."""
    window = live.run.window
    if window is None:
        return [PersistTree(live), _emit(live)]
    return [PersistTree(live), *map(_emit, window.ended(live.task.number, live, at_once=live.asked))]


def let_go(run: Run, tree_id: str) -> list[Effect]:
    """Somebody asked for the tree by name: if it waits for its turn, this is it."""
    window = run.window
    return [] if window is None else list(map(_emit, window.let_go(tree_id)))


def _emit(live: LiveTree) -> EmitTree:
    """The task's terminal event, with which its tree enters the feed."""
    run = live.run
    run.fed += 1
    if live.dropped_by:
        run.filtered[live.dropped_by] += 1
    elif live.status is TreeStatus.FAILED:
        run.failed += 1
    else:
        run.finished += 1
    if live.status is not TreeStatus.FAILED and live.dropped_by != WITHOUT_CREDIT:
        run.failing = 0
    elif live.stop_reason in ("", "lost"):
        run.failing, run.failure = run.failing + 1, live.error
    if live.placed and run.pace is not None:
        if live.status in (TreeStatus.FAILED, TreeStatus.FILTERED):
            run.pace.growing -= 1
        else:
            run.pace.fed(live.tree_id, run.fed)
    return EmitTree(live)


def _filter(state: State, live: LiveTree) -> None:
    """Give the tree its credit. It is dropped if there is none, or if a filter of its run finds it."""
    if why := give_credit(state, live):
        live.dropped_by = WITHOUT_CREDIT
    elif live.run.spec.delivery.filters:
        live.dropped_by, why = dropped(live)
    if live.dropped_by:
        live.status, live.error = TreeStatus.FILTERED, f"dropped by {live.dropped_by}: {why}"


def _count(live: LiveTree) -> None:
    """What a tree that has ended adds to its run's figures."""
    counters = live.run.counters
    live.pruned_tokens, live.censored_tokens = unsampled_tokens(live)
    counters.pruned_tokens += live.pruned_tokens
    counters.censored_tokens += live.censored_tokens
    if any(reward is not None for reward in live.tree.rewards.values()):
        effective = sum(any(credit.advantages) for credit in live.credit)
        counters.scored_trees += 1
        counters.effective_leaves += effective
        counters.trees_without_signal += not effective


class Unsampled(NamedTuple):
    """Tokens of a tree that lie on no path to a leaf."""

    pruned: int
    """All that was grown from them ended at pruned nodes."""
    censored: int
    """Something that was grown from them was cut before its end."""


def unsampled_tokens(live: LiveTree) -> Unsampled:
    """What of an ended tree is in no sample, as far as no sample shares it."""
    nodes = live.tree.nodes
    sampled = {0: nodes[0].n_tokens}  # node -> its tokens on paths to leaves
    for leaf in live.tree.leaves:
        number, kept = leaf, nodes[leaf].n_tokens
        while (known := sampled.get(number, 0)) < kept:
            sampled[number] = kept
            node = nodes[number]
            if known:
                break
            number, kept = node.parent, node.token_start - nodes[node.parent].token_start
    partly = {node.number: sampled.get(node.number, 0) for node in nodes}
    partly = {number: tokens for number, tokens in partly.items() if tokens < nodes[number].n_tokens}
    cut = _cut(nodes, partly)
    pruned = censored = 0
    for number, tokens in partly.items():
        own = nodes[number].own
        wasted = len(own[max(0, tokens - own.start) :])
        if number in cut:
            censored += wasted
        else:
            pruned += wasted
    return Unsampled(pruned, censored)


def _cut(nodes: Sequence[Node], partly: Mapping[int, int]) -> set[int]:
    """Those of the nodes in no sample at whose end, or behind, a path was cut. `partly`: how many tokens at their
    beginnings are in samples all the same."""
    cut: set[int] = set()
    continued = {nodes[number].parent for number in partly if nodes[number].token_start == _end(nodes, number)}
    for number in partly:
        if nodes[number].status is not INNER or number in continued:
            continue
        while number in partly and number not in cut:
            cut.add(number)
            start, number = nodes[number].token_start, nodes[number].parent
            if start - nodes[number].token_start <= partly.get(number, 0):  # it began where samples go on
                break
    return cut


def _end(nodes: Sequence[Node], number: int) -> int:
    """Where the node's parent ends."""
    return nodes[nodes[number].parent].total
