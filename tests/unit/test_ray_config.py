"""Which Ray is used: a private one only where nobody may have meant another."""

import pytest

from treeroll.config import CoordinatorConfig, parse
from treeroll.errors import InvalidInput
from treeroll.generator.ray_config import RayConfig

JOB = {"RAY_ADDRESS": "10.0.0.1:6379"}


def test_a_private_ray_is_refused_where_the_environment_is_of_a_cluster() -> None:
    with pytest.raises(InvalidInput, match=r"RAY_ADDRESS is 10\.0\.0\.1:6379, .*ray\.address \(--ray-address\)"):
        RayConfig().check(JOB)


@pytest.mark.parametrize("address", ["local", "auto", "head:6379"])
def test_what_the_operator_said_is_not_asked_again(address: str) -> None:
    RayConfig(address=address).check(JOB)


def test_without_a_cluster_in_the_environment_ray_is_private() -> None:
    RayConfig().check({"RAY_ADDRESS": ""})
    assert RayConfig().private
    assert RayConfig(address="local").private
    assert not RayConfig(address="auto").private


@pytest.mark.parametrize(
    ("address", "why"),
    [("ray://head:10001", "Ray Client"), ("head", "HOST:PORT"), ("", "HOST:PORT"), ("head:0", "HOST:PORT")],
)
def test_addresses_that_cannot_be_joined_are_refused(address: str, why: str) -> None:
    with pytest.raises(InvalidInput, match=why):
        parse(RayConfig, {"address": address}, "section 'ray'")


@pytest.mark.parametrize("advertise", ["0.0.0.0", "0.0.0.0:7070", "::", "[::]", "[::]:7070"])  # noqa: S104
def test_all_addresses_of_a_host_are_none_to_be_reached_by(advertise: str) -> None:
    with pytest.raises(InvalidInput, match="leads nowhere"):
        parse(CoordinatorConfig, {"advertise": advertise}, "section 'coordinator'")


@pytest.mark.parametrize("advertise", ["node-7", "10.0.0.7", "10.0.0.7:7071", "fd00::7", "[fd00::7]:7071"])
def test_a_host_with_or_without_a_port_is_one(advertise: str) -> None:
    assert CoordinatorConfig(advertise=advertise).advertise == advertise
