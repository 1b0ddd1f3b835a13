"""Lease ids: "<epoch>.<seq>.<delivery>.<consumer>". Opaque to callers; both stores make and read them here.

Each delivery of an entry within an epoch of its group has its own number, so a lease id is never used twice.
"""

import re
from typing import NamedTuple

# Bounds keep a forged id inside what Redis and Lua numbers can hold.
_PATTERN = re.compile(r"(0|[1-9]\d{0,14})\.([1-9]\d{0,14})\.([1-9]\d{0,8})\.(.+)", re.DOTALL | re.ASCII)


class LeaseId(NamedTuple):
    """A delivery of a feed entry to a consumer."""

    epoch: int
    seq: int
    delivery: int
    consumer: str

    def __str__(self) -> str:
        return f"{self.epoch}.{self.seq}.{self.delivery}.{self.consumer}"


def parse(text: str) -> LeaseId | None:
    """The lease named; None if no store ever made this id."""
    match = _PATTERN.fullmatch(text)
    return LeaseId(int(match[1]), int(match[2]), int(match[3]), match[4]) if match else None
