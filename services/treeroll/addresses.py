"""Addresses: HOST:PORT as people and gRPC write it, and whether a host is this machine."""

import ipaddress

from treeroll.errors import InvalidInput


def join(host: str, port: int) -> str:
    """HOST:PORT; an IPv6 address in brackets."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def split(address: str) -> tuple[str, int]:
    """Host, without brackets, and port. InvalidInput naming what is wrong."""
    host, separator, port = address.rpartition(":")
    if not (separator and host and port.isascii() and port.isdecimal() and 0 < int(port) < 65536):
        raise InvalidInput(f"address {address!r} must be HOST:PORT, e.g. 'localhost:7070'")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
        if not _is_ipv6(host):
            raise InvalidInput(f"address {address!r} must have an IPv6 address in its brackets, e.g. '[::1]:7070'")
    elif _is_ipv6(address) or _is_ipv6(host):
        raise InvalidInput(f"address {address!r}: an IPv6 address goes into brackets, e.g. '[::1]:7070'")
    elif not set(host).isdisjoint("/:[]@?# \t"):
        raise InvalidInput(f"address {address!r} must be HOST:PORT and nothing else, e.g. 'localhost:7070'")
    return host, int(port)


def has_port(place: str) -> bool:
    """Whether HOST or HOST:PORT is the latter; an IPv6 address with a port is in brackets."""
    return place.rpartition(":")[2].isdecimal() and (place.startswith("[") or place.count(":") == 1)


def is_loopback(host: str) -> bool:
    """Whether traffic to a host, a name or an IP address, stays on this machine. Names are not looked up."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host.lower() == "localhost"
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return (mapped or address).is_loopback


def check_addresses(addresses: str) -> list[str]:
    """The addresses of a list joined by commas, each of the form HOST:PORT or unix:PATH; else InvalidInput."""
    found = [address.strip() for address in addresses.split(",")]
    for address in found:
        if not address.startswith("unix:"):
            split(address)
    return found


def is_local(address: str) -> bool:
    """Whether traffic to the address stays on this machine."""
    return address.startswith("unix:") or is_loopback(split(address)[0])


def within(host: str) -> str:
    """The host by which processes of this machine reach one who listens there: all addresses are no address."""
    return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - what was configured


def _is_ipv6(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).version == 6
    except ValueError:
        return False
