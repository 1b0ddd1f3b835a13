"""Ports for services that must have the same one in all their lives."""

import socket
from pathlib import Path
from random import SystemRandom

RANGE = Path("/proc/sys/net/ipv4/ip_local_port_range")
ABOVE_RAYS = 20_000  # its workers have those from 10,002 on


def free_port() -> int:
    """A port of loopback where nobody listens, and that the kernel gives to nobody who names none, so that it stays
    free."""
    first = int(RANGE.read_text().split()[0]) if RANGE.exists() else 0
    while True:
        port = SystemRandom().randrange(ABOVE_RAYS, first) if first > ABOVE_RAYS else 0
        with socket.socket() as free:
            try:
                free.bind(("127.0.0.1", port))
            except OSError:
                continue
            return int(free.getsockname()[1])
