"""What replicas say to have of an earlier coordinator's branches, compared with what is stored of these."""

from treeroll.coordinator.loop import Coordinator
from treeroll.core.model.events import Claim
from treeroll.core.model.live_tree import LiveTree
from treeroll.core.scheduling.orphans import find
from treeroll.pb.v1 import common_pb2 as pb
from treeroll.pb.v1 import replica_pb2 as wire
from treeroll.records.digest import prefix_digest
from treeroll.records.split import path_tokens
from treeroll.store.base import Store

BYTES = 4  # of a token id


async def claims_of(coordinator: Coordinator, hello: wire.Hello) -> tuple[Claim, ...]:
    """Those of a replica's live branches that wait for it, and that begin with the tokens that it began with."""
    state = coordinator.state
    if state.orphans is None:
        return ()
    found: list[tuple[Claim, bytes, LiveTree, list[int]]] = []
    live_grants = set(hello.live_grants)
    for one in {one.grant: one for one in hello.branches if one.grant in live_grants}.values():  # each read once
        claim = Claim(one.grant, one.tree_id, one.branch, one.attempt, one.prefix_tokens, one.stopped)
        if (place := find(state, claim)) is not None:
            live, branch = place
            before = [n.number for n in live.tree.lineage(branch.tip) if n.token_start < claim.prefix_tokens]
            found.append((claim, one.prefix_digest, live, before))
    prefixes = await _prefixes(coordinator.store, [(claim, live, path) for claim, _, live, path in found])
    return tuple(
        claim for (claim, digest, _, _), ids in zip(found, prefixes, strict=True) if prefix_digest(ids) == digest
    )


async def _prefixes(store: Store, wanted: list[tuple[Claim, LiveTree, list[int]]]) -> list[bytes]:
    blobs = await store.load_nodes([(live.tree_id, path) for _, live, path in wanted]) if wanted else []
    prefixes = []
    for (claim, live, _), nodes in zip(wanted, blobs, strict=True):
        ids = path_tokens(live.task.prompt_ids, list(map(pb.Node.FromString, nodes)))
        prefixes.append(ids[: BYTES * claim.prefix_tokens])
    return prefixes
