"""The order to start a granted branch, made from its durable state (at the grant, and again after a reconnect)."""

from treeroll.core.model.branch import Branch
from treeroll.core.model.effects import StartBranch
from treeroll.core.model.live_tree import LiveTree
from treeroll.tree.node import Node
from treeroll.tree.rng import hash64
from treeroll.tree.tree import SPLIT, path_name


def start_effect(live: LiveTree, branch: Branch) -> StartBranch:
    """Everything a replica needs to serve the branch from its last durable node."""
    spec, origin = live.run.spec, branch.origin
    tip = live.tree.nodes[branch.tip]
    known = _known_by_replica(live, branch, tip)
    # No engine made an observation, so a replica has it only of branches that began behind it.
    added = tip.observation if branch.total == tip.total else None
    stored: tuple[int, ...] = ()
    if not known and tip.number:
        stored = tuple(node.number for node in live.tree.lineage(tip.number))
    return StartBranch(
        replica_id=origin.replica_id,
        incarnation=origin.incarnation,
        grant=branch.grant,
        run=live.run,
        tree_id=live.tree_id,
        prefix_tokens=branch.total,
        cut_from=tip.token_start if branch.total < tip.total else 0,
        prefix_grant=known,
        prefix_ids=live.task.prompt_ids if not known else added.ids if added else b"",
        prefix_tail=added.text if known and added else "",
        stored=stored,
        prompt_tokens=live.tree.root.n_tokens,
        boundaries=branch.boundaries[branch.depth :],
        hold=spec.segment.hold,
        # With engine seeds per request, no grant of a branch may re-use the noise of an earlier one.
        seed=hash64(branch.seed, origin.attempt, branch.depth) if spec.sampling.per_request_seed else branch.seed,
        priority=-branch.depth,
        delimiter=spec.segment.delimiter,
        temperature=branch.temperature,
        inserted=branch.inserted,
        model=branch.model,
        branch=grant_name(live, branch),
        attempt=origin.attempt,
        waited_s=branch.waited_s,
        masked_by=branch.masked_by,
    )


def grant_name(live: LiveTree, branch: Branch) -> str:
    """The path of the next node of a branch: it names what a grant from here on serves, whoever knows the tree."""
    tree, tip = live.tree, live.tree.nodes[branch.tip]
    within = [SPLIT - (branch.total - tip.token_start)] if branch.total < tip.total else []
    return path_name((*tree.path(tip.number), *within, 0 if branch.started else branch.sibling_index))


def _known_by_replica(live: LiveTree, branch: Branch, tip: Node) -> int:
    """An earlier grant on the same replica whose sequence begins with the prefix; 0 if there is none.

    After a failure the prefix is sent whole: should the replica not have what we think, trying again would not help.
    """
    origin = branch.origin
    first = live.served.get((origin.replica_id, origin.incarnation), 0)
    if branch.failures or not first or first == branch.grant:
        return 0
    if not tip.number:
        return first
    # Grants only grow: one from before the first that this incarnation got was another incarnation's.
    return tip.grant if tip.replica_id == origin.replica_id and tip.grant >= first else 0
