"""Reaching a service that the user named: an address where nobody listens is bad input, not a failed run."""

from collections.abc import Iterator
from contextlib import contextmanager

from treeroll.addresses import check_addresses
from treeroll.client import AsyncClient, Client, connect, connect_async
from treeroll.client.channel import CONNECT_S
from treeroll.errors import InvalidInput, StandsBy, Unavailable

# A person waits for the answer: how long calls are repeated, seconds.
TIMEOUT_S = 30.0


@contextmanager
def reach(address: str) -> Iterator[Client]:
    """A client of the service, closed at the end. InvalidInput if nobody answers, StandsBy if it does not serve yet."""
    try:
        client = connect(address, timeout_s=TIMEOUT_S, connect_s=_connect_s(address))
    except StandsBy:
        raise
    except Unavailable as error:
        raise InvalidInput(str(error)) from None
    with client:
        yield client


async def reach_async(address: str) -> AsyncClient:
    """Connect as `reach` does, for asynchronous code; the caller closes it."""
    try:
        return await connect_async(address, connect_s=_connect_s(address))
    except Unavailable as error:
        raise InvalidInput(str(error)) from None


def _connect_s(address: str) -> float:
    """How long to look for who serves: a host that is cut off lets those that ask it wait, and others may answer."""
    return CONNECT_S * len(check_addresses(address))
