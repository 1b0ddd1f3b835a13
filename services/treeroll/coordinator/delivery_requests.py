"""Requests for trees that cannot be served: InvalidInput says why."""

from treeroll.errors import InvalidInput
from treeroll.pb.v1 import rollout_pb2 as api

MAX_TREES_PER_CALL = 10_000
MAX_WORLD = 65_536


def check_group(group: str) -> None:
    """InvalidInput for a group without a name."""
    if not group:
        raise InvalidInput("a group must have a name")


def check_batch(request: api.LeaseBatchRequest) -> None:
    """InvalidInput for a share that cannot be asked for."""
    check_group(request.group)
    check_rank(request.rank, request.world)
    if not 1 <= request.trees <= MAX_TREES_PER_CALL:
        raise InvalidInput(f"trees is {request.trees}, it must be 1 to {MAX_TREES_PER_CALL}")
    check_wait_s(request.wait_s)


def check_rank(rank: int, world: int) -> None:
    """InvalidInput for a rank that is none of its world."""
    if not (1 <= world <= MAX_WORLD and rank < world):
        raise InvalidInput(f"rank {rank} of {world} is none: a world has 1 to {MAX_WORLD} ranks, from 0 on")


def check_lease(request: api.LeaseTreesRequest) -> None:
    """InvalidInput for a lease request that cannot be served."""
    if not request.group or not request.consumer:
        raise InvalidInput("a lease needs the names of a group and of a consumer")
    if not 1 <= request.max_trees <= MAX_TREES_PER_CALL:
        raise InvalidInput(f"max_trees is {request.max_trees}, it must be 1 to {MAX_TREES_PER_CALL}")
    check_lease_s(request.lease_s)
    check_wait_s(request.wait_s)


def check_collect(request: api.CollectTreesRequest) -> None:
    """InvalidInput for a request by name that cannot be served."""
    if not 1 <= len(request.tree_ids) <= MAX_TREES_PER_CALL:
        raise InvalidInput(f"{len(request.tree_ids)} tree ids in one call; send 1 to {MAX_TREES_PER_CALL}")
    if len(set(request.tree_ids)) < len(request.tree_ids):
        twice = next(tree_id for tree_id in request.tree_ids if list(request.tree_ids).count(tree_id) > 1)
        raise InvalidInput(f"tree '{twice}' is asked for twice in one call")
    check_wait_s(request.wait_s)


def check_wait_s(wait_s: float) -> None:
    """InvalidInput for a wait that a call may not take."""
    if not 0.0 <= wait_s <= 60.0:
        raise InvalidInput(f"wait_s is {wait_s}, it must be 0 to 60 seconds")


def check_lease_s(lease_s: float) -> None:
    """InvalidInput for a lease that is too short to renew or too long to lose."""
    if not 1.0 <= lease_s <= 3600.0:
        raise InvalidInput(f"lease_s is {lease_s}, it must be 1 to 3600 seconds")
