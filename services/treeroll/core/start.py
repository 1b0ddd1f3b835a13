"""The order to start a granted branch, made from its durable state (at the grant, and again after a reconnect)."""

from treeroll.core.branch import Branch
from treeroll.core.effects import StartBranch
from treeroll.core.live import LiveTree
from treeroll.core.rng import hash64


def start_effect(live: LiveTree, branch: Branch) -> StartBranch:
    """Everything a replica needs to serve the branch from its last durable node."""
    spec = live.run.spec
    tip = live.tree.nodes[branch.tip]
    return StartBranch(
        replica_id=branch.replica_id,
        incarnation=branch.incarnation,
        grant=branch.grant,
        run=live.run,
        tree_id=live.tree_id,
        prefix_ids=live.tree.prefix_ids(branch.tip),
        prompt_tokens=live.tree.root.n_tokens,
        boundaries=live.boundaries[tip.depth :],
        hold=spec.segment.hold,
        # With engine seeds per request, no grant of a branch may re-use the noise of an earlier one.
        seed=hash64(branch.seed, branch.attempt, tip.depth) if spec.sampling.per_request_seed else branch.seed,
        priority=-tip.depth,
    )
