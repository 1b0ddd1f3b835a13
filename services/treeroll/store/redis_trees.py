"""Trees in Redis. Large ones are read some nodes at a time, so that others have their turns, at Redis and here."""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator
from itertools import islice
from typing import Any

from treeroll.errors import TreeChanged
from treeroll.store import keys
from treeroll.store.base import PAGE_BYTES, PAGE_NODES, StoredTree, TreePage
from treeroll.store.redis_connection import Command
from treeroll.store.redis_replies import pairs
from treeroll.store.redis_steps import RedisSteps
from treeroll.store.refusals import missing_node

# Before it is known how large nodes are.
_FIRST_NODES = 64
# Rewards that are looked at before others have their turn.
_REWARDS_AT_ONCE = 1000


class RedisTrees(RedisSteps):
    """Reads of trees, beside feeds and groups."""

    async def tree_pages(self, tree_id: str) -> AsyncIterator[TreePage]:
        of_nodes = keys.nodes(tree_id)
        reads = [*_tree_reads(tree_id, 0, _FIRST_NODES - 1), ("LLEN", of_nodes)]
        header, nodes, flat, count = await self._transaction(reads)
        if header is None:
            return
        rewards, first, ends = await _by_node(flat), 0, list[tuple[int, bytes]]()
        while True:
            here = range(first, first + len(nodes))
            yield TreePage(first, header, nodes, {k: v for n in here if n in rewards for k, v in rewards[n].items()})
            if here.stop >= count:
                break
            ends.append((here.stop - 1, nodes[-1]))
            first, header = here.stop, b""
            size = PAGE_BYTES * len(nodes) // max(1, sum(map(len, nodes)))
            last = min(count, first + max(1, min(size, PAGE_NODES))) - 1
            nodes = await self._call("LRANGE", of_nodes, first, last)
            if len(nodes) != last + 1 - first:
                raise _changed(tree_id)
        # Nodes never change, but all of a tree may go, and others come in their place: the last of each page says so.
        if first:
            ends.append((count - 1, nodes[-1]))
            found = await self._transaction([("LINDEX", of_nodes, end) for end, _ in ends])
            if found != [node for _, node in ends]:
                raise _changed(tree_id)

    async def load_tree(self, tree_id: str) -> StoredTree | None:
        while True:
            try:
                return await self._gathered(tree_id)
            except TreeChanged:
                continue

    async def _gathered(self, tree_id: str) -> StoredTree | None:
        tree = None
        async for page in self.tree_pages(tree_id):
            if tree is None:
                tree = StoredTree(page.header, page.nodes, page.rewards)
            else:
                tree.nodes += page.nodes
                tree.rewards |= page.rewards
        return tree

    async def load_trees(self, tree_ids: list[str]) -> list[StoredTree | None]:
        if not tree_ids:
            return []
        found = await self._transaction([command for tree_id in tree_ids for command in _tree_reads(tree_id, 0, -1)])
        return [_stored_tree(*found[at : at + 3]) for at in range(0, len(found), 3)]

    async def load_journals(self, tree_ids: list[str]) -> list[list[bytes]]:
        return await self._ask([("LRANGE", keys.journal(tree_id), 0, -1) for tree_id in tree_ids]) if tree_ids else []

    async def load_nodes(self, paths: list[tuple[str, list[int]]]) -> list[list[bytes]]:
        places = [(tree_id, number) for tree_id, numbers in paths for number in numbers]
        records = await self._ask([("LINDEX", keys.nodes(tree_id), number) for tree_id, number in places])
        for (tree_id, number), record in zip(places, records, strict=True):
            if record is None:
                raise missing_node(tree_id, number)
        rest = iter(records)  # nodes never change: no transaction
        return [list(islice(rest, len(numbers))) for _, numbers in paths]

    async def _transaction(self, commands: list[Command]) -> Any:
        """Replies of one moment."""
        return (await self._ask([("MULTI",), *commands, ("EXEC",)]))[-1]


async def _by_node(flat: list[bytes]) -> dict[int, dict[str, bytes]]:
    """Rewards as Redis gives them, by the node that they are of."""
    found = defaultdict[int, dict[str, bytes]](dict)
    for place, (name, reward) in enumerate(pairs(flat), 1):
        key = name.decode()
        found[int(key.partition(":")[0])][key] = reward
        if place % _REWARDS_AT_ONCE == 0:
            await asyncio.sleep(0)
    return found


def _changed(tree_id: str) -> TreeChanged:
    return TreeChanged(f"tree '{tree_id}' was deleted or began anew while it was read: ask for it again")


def _tree_reads(tree_id: str, first: int, last: int) -> list[Command]:
    """Header, these nodes and rewards of a tree."""
    return [
        ("HGET", keys.tree(tree_id), keys.HEADER),
        ("LRANGE", keys.nodes(tree_id), first, last),
        ("HGETALL", keys.rewards(tree_id)),
    ]


def _stored_tree(header: bytes | None, nodes: list[bytes], rewards: list[bytes]) -> StoredTree | None:
    if header is None:
        return None
    return StoredTree(header, nodes, {key.decode(): record for key, record in pairs(rewards)})
