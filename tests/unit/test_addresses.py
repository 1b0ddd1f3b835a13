"""HOST:PORT as people and gRPC write it, and which hosts are this machine."""

import pytest

from treeroll.addresses import is_loopback, join, split
from treeroll.errors import InvalidInput


@pytest.mark.parametrize(
    ("host", "port", "address"),
    [
        ("127.0.0.1", 7070, "127.0.0.1:7070"),
        ("localhost", 1, "localhost:1"),
        ("::1", 7070, "[::1]:7070"),
        ("2001:db8::7", 65535, "[2001:db8::7]:65535"),
        ("trainer-0.example.org", 80, "trainer-0.example.org:80"),
    ],
)
def test_an_address_is_put_together_and_taken_apart(host: str, port: int, address: str) -> None:
    assert join(host, port) == address
    assert split(address) == (host, port)


@pytest.mark.parametrize("address", ["", "localhost", ":7070", "localhost:", "localhost:x", "localhost:0", "localhost:70700", "localhost:-1", "localhost:７"])  # fmt: skip # noqa: E501, RUF001
def test_an_address_has_a_host_and_a_port(address: str) -> None:
    with pytest.raises(InvalidInput, match="must be HOST:PORT"):
        split(address)


@pytest.mark.parametrize("address", ["::1", "::1:7070", "2001:db8::7:7070", "fe80::1:80"])
def test_an_ipv6_address_goes_into_brackets(address: str) -> None:
    with pytest.raises(InvalidInput, match=r"goes into brackets, e\.g\. '\[::1\]:7070'"):
        split(address)


@pytest.mark.parametrize(
    "address", ["http://localhost:7070", "user@localhost:7070", "a b:7070", "[127.0.0.1]:70", "[::1:70"]
)
def test_nothing_else_is_an_address(address: str) -> None:
    with pytest.raises(InvalidInput, match="address '"):
        split(address)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.2", "127.255.0.9", "::1", "0:0:0:0:0:0:0:1", "localhost", "LOCALHOST", "::ffff:127.0.0.1"])  # fmt: skip # noqa: E501
def test_loopback_is_this_machine(host: str) -> None:
    assert is_loopback(host)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.7", "128.0.0.1", "::2", "::ffff:10.0.0.1", "localhost.example.org", "example.org"])  # fmt: skip # noqa: E501, S104
def test_anything_else_is_not(host: str) -> None:
    assert not is_loopback(host)
