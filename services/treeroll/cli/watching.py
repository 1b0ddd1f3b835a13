"""What a service says of itself, for commands that look at it from outside."""

import asyncio
import time

from treeroll.cli.reach import reach
from treeroll.errors import InvalidInput, StoreError
from treeroll.store.base import Store
from treeroll.store.factory import make_store
from treeroll.watch.view import StoreLook, View, look


def store_url(address: str, store: str | None) -> str:
    """Where the service at an address says that its snapshots lie, unless `store` names the place. InvalidInput if
    nobody answers there, or if only the service itself can look."""
    if store is not None:
        url = store
    else:
        with reach(address) as client:
            url = client.status().store
    if url == "memory":
        raise InvalidInput(
            f"the service at {address} keeps its store in memory, where only it can look: give it a Redis"
        )
    return url


def view_of(url: str) -> View:
    """The last minutes, as the store at a URL has them; one that does not answer is in the view. InvalidInput."""
    return asyncio.run(_view(make_store(url)))


async def _view(store: Store) -> View:
    try:
        return await look(store, time.time())
    except StoreError as error:
        return View(time.time(), None, store=StoreLook(str(error)))
    finally:
        await store.close()
