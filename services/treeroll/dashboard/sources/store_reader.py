"""StoreReader: what a service's Redis holds, by reads alone, so that a user without any other right may do it."""

from collections.abc import Sequence
from typing import Any

from treeroll.store import keys
from treeroll.store.base import StoredTree
from treeroll.store.redis_connection import Command, ask, connect, store_errors
from treeroll.store.redis_url import public_address

# Node records of one answer: Redis serves nobody else while it makes one.
CHUNK = 256
# Headers, or places of a feed, of one answer.
MANY = 200


class StoreReader:
    """A Redis that a service writes to, or wrote to. Raises StoreError where it does not answer."""

    def __init__(self, url: str, timeout_s: float = 3.0) -> None:
        """InvalidInput for a URL that is none. Connects when it is first asked."""
        self.address = public_address(url)
        self._redis = connect(url, timeout_s)

    async def close(self) -> None:
        """End its connections."""
        await self._redis.aclose()

    async def snapshot(self) -> bytes | None:
        """What the owner last said of itself."""
        found: bytes | None = (await self._ask(("GET", keys.STATUS)))[0]
        return found

    async def points(self, after: str) -> list[tuple[str, bytes]]:
        """What it said before, after the point of this id, up to 1,000."""
        (found,) = await self._ask(("XRANGE", keys.POINTS, f"({after}" if after else "-", "+", "COUNT", 1000))
        return [(name.decode(), fields[1]) for name, fields in found]

    async def info(self) -> dict[str, str]:
        """What Redis says of itself: the lines of INFO."""
        (raw,) = await self._ask(("INFO",))
        lines = raw.decode(errors="replace").splitlines()
        return dict(line.split(":", 1) for line in lines if ":" in line)

    async def size(self) -> int:
        """Keys in the database."""
        return int((await self._ask(("DBSIZE",)))[0])

    async def run(self, run_id: str) -> bytes | None:
        """A run's record."""
        found: bytes | None = (await self._ask(("HGET", keys.RUNS, run_id)))[0]
        return found

    async def runs(self) -> dict[str, bytes]:
        """All records of runs."""
        (found,) = await self._ask(("HGETALL", keys.RUNS))
        return {name.decode(): record for name, record in zip(found[::2], found[1::2], strict=True)}

    async def ended(self, run_id: str, after: int) -> list[tuple[int, str]]:
        """Places and ids of a run's ended trees behind a place of its feed."""
        command: Command = ("XRANGE", keys.feed(run_id), f"{after + 1}-0", "+", "COUNT", MANY)
        (found,) = await self._ask(command)
        return [(int(name.partition(b"-")[0]), fields[1].decode()) for name, fields in found]

    async def planted(self, run_id: str) -> list[str]:
        """Ids of all trees of a run's tasks, those that have not started included."""
        (found,) = await self._ask(("HVALS", keys.tasks(run_id)))
        return [value.rpartition(b" ")[2].decode() for value in found]

    async def headers(self, tree_ids: Sequence[str]) -> list[bytes | None]:
        """Headers of trees, None for one that is not there."""
        found: list[bytes | None] = []
        for at in range(0, len(tree_ids), MANY):
            part = tree_ids[at : at + MANY]
            found += await self._ask(*(("HGET", keys.tree(tree_id), keys.HEADER) for tree_id in part))
        return found

    async def counts(self, tree_ids: Sequence[str]) -> list[int]:
        """How many nodes trees have."""
        found: list[int] = []
        for at in range(0, len(tree_ids), MANY):
            found += await self._ask(*(("LLEN", keys.nodes(tree_id)) for tree_id in tree_ids[at : at + MANY]))
        return found

    async def tree(self, tree_id: str) -> StoredTree | None:
        """One tree as it is now. Nodes are only ever appended, so what is read piece by piece is a tree, too."""
        (header,) = await self._ask(("HGET", keys.tree(tree_id), keys.HEADER))
        if header is None:
            return None
        nodes: list[bytes] = []
        while True:
            (part,) = await self._ask(("LRANGE", keys.nodes(tree_id), len(nodes), len(nodes) + CHUNK - 1))
            nodes += part
            if len(part) < CHUNK:
                break
        (rewards,) = await self._ask(("HGETALL", keys.rewards(tree_id)))
        pairs = zip(rewards[::2], rewards[1::2], strict=True)
        known = {key.decode(): value for key, value in pairs if int(key.partition(b":")[0]) < len(nodes)}
        return StoredTree(header, nodes, known)

    async def _ask(self, *commands: Command) -> list[Any]:
        with store_errors(self.address):
            return await ask(self._redis, commands)
