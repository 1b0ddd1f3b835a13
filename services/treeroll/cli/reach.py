"""Reaching a service that the user named: an address where nobody listens is bad input, not a failed run."""

from collections.abc import Iterator
from contextlib import contextmanager

from treeroll.client import AsyncClient, Client, connect, connect_async
from treeroll.errors import InvalidInput, Unavailable


@contextmanager
def reach(address: str) -> Iterator[Client]:
    """A client of the service, closed at the end. InvalidInput if nobody answers."""
    try:
        client = connect(address)
    except Unavailable as error:
        raise InvalidInput(str(error)) from None
    with client:
        yield client


async def reach_async(address: str) -> AsyncClient:
    """Connect as `reach` does, for asynchronous code; the caller closes it."""
    try:
        return await connect_async(address)
    except Unavailable as error:
        raise InvalidInput(str(error)) from None
