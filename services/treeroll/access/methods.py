"""Which roles may call which method. One that has no row here does not start; what nobody may call is refused."""

from typing import Any

from treeroll.access.identity import Role
from treeroll.pb.v1 import fleet_pb2, replica_pb2, rollout_pb2

_USERS = frozenset({Role.CLIENT, Role.OPERATOR})
_READERS = _USERS | {Role.VIEWER}
_OPERATORS = frozenset({Role.OPERATOR})
_REPLICAS = frozenset({Role.REPLICA})

ROLES: dict[str, dict[str, frozenset[Role]]] = {
    "Rollouts": {
        "GetService": _READERS,
        "CreateRun": _USERS,
        "GetRun": _READERS,
        "SubmitTasks": _USERS,
        "CloseRun": _USERS,
        "CancelRun": _USERS,
        "DeleteRun": _USERS,
        "LeaseTrees": _USERS,
        "OpenGroup": _USERS,
        "SeekGroup": _USERS,
        "LeaseBatch": _USERS,
        "AckBatch": _USERS,
        "RenewLeases": _USERS,
        "AckTrees": _USERS,
        "ReleaseTrees": _USERS,
        "CollectTrees": _USERS,
        "ReportRewards": _USERS,
        "GetTree": _READERS,
        "PublishWeights": _USERS,
        "GetWeights": _READERS,
        "Audit": _OPERATORS,
        "Drain": _OPERATORS,
        "Undrain": _OPERATORS,
        "DrainReplicas": _OPERATORS,
        "ScalePool": _OPERATORS,
    },
    "ReplicaPlane": {"Session": _REPLICAS},
    "FleetPlane": {"Report": _REPLICAS},
}
OPEN = "/grpc.health.v1.Health/Check"
"""What needs no token: probes have none."""


def by_path(rows: dict[str, dict[str, frozenset[Role]]], *files: Any) -> dict[str, frozenset[Role]]:
    """The roles by a method's path. RuntimeError unless each method of the files' services has a row, and no other."""
    found: dict[str, frozenset[Role]] = {}
    for file in files:
        for name, service in file.DESCRIPTOR.services_by_name.items():
            row = rows.get(name, {})
            if odd := row.keys() ^ set(service.methods_by_name):
                raise RuntimeError(f"{__name__} has other methods of {name} than the protos: {', '.join(sorted(odd))}")
            found |= {f"/{service.full_name}/{method}": roles for method, roles in row.items()}
    return found


MAY_CALL = by_path(ROLES, rollout_pb2, replica_pb2, fleet_pb2)
