"""Every rpc of our protos has an implementation: the generated base classes would answer UNIMPLEMENTED."""

import pytest

from treeroll.coordinator.api import RolloutsApi
from treeroll.coordinator.fleet_plane import FleetPlane
from treeroll.coordinator.replica_server import ReplicaPlane
from treeroll.pb.v1 import fleet_pb2, replica_pb2, rollout_pb2


@pytest.mark.parametrize(
    ("implementation", "file", "service"),
    [
        (RolloutsApi, rollout_pb2, "Rollouts"),
        (ReplicaPlane, replica_pb2, "ReplicaPlane"),
        (FleetPlane, fleet_pb2, "FleetPlane"),
    ],
)
def test_every_rpc_is_implemented(implementation: type, file: object, service: str) -> None:
    methods = file.DESCRIPTOR.services_by_name[service].methods  # type: ignore[attr-defined]
    assert methods
    [generated] = [kind for kind in implementation.__mro__ if kind.__name__ == f"{service}Servicer"]
    ours = {method.name for method in methods if getattr(implementation, method.name) != vars(generated)[method.name]}
    assert ours == {method.name for method in methods}
