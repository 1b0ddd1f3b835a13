"""StoreReader: what a service's Redis holds, by reads alone, so that a user without any other right may do it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from treeroll.records.events import Tick, read
from treeroll.store import keys
from treeroll.store.base import Log, StoredTree
from treeroll.store.redis_connection import Command, ask, connect, store_errors
from treeroll.store.redis_url import public_address

# Node records of one answer: Redis serves nobody else while it makes one.
CHUNK = 256
# Headers, or places of a feed, of one answer.
MANY = 200
# Entries of what was decided: each may have many of them.
FEW = 50


@dataclass(frozen=True, slots=True)
class Unacknowledged:
    """A tree of a feed, as it stands with a group that has not acknowledged it."""

    place: int
    tree_id: str
    consumer: str = ""
    """Who was handed it last; "" if nobody was."""
    since_s: float | None = None
    """How long ago."""
    deliveries: int = 0
    left_s: float | None = None
    """Until its lease ends, by the coordinator's clock; negative: it has ended. inf: in a global batch of ranks."""


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

    async def log(self, log: Log, after: int) -> list[tuple[int, bytes]]:
        """Entries of a log behind a place, each with its place, up to 200."""
        (found,) = await self._ask(("XRANGE", keys.LOGS[log], f"({after}-0", "+", "COUNT", MANY))
        return [(int(name.partition(b"-")[0]), fields[1]) for name, fields in found]

    async def log_back(self, log: Log, last: int | None) -> list[tuple[int, bytes, str]]:
        """Entries of a log up to a place, or up to its end, newest first: their places, and runs; up to FEW."""
        (found,) = await self._ask(
            ("XREVRANGE", keys.LOGS[log], "+" if last is None else f"{last}-0", "-", "COUNT", FEW)
        )
        return [(_seq(name), fields[1], fields[3].decode() if len(fields) > 3 else "") for name, fields in found]

    async def log_oldest(self, log: Log) -> tuple[int, bytes] | None:
        """The first entry that a log still has, with its place."""
        (found,) = await self._ask(("XRANGE", keys.LOGS[log], "-", "+", "COUNT", 1))
        return (_seq(found[0][0]), found[0][1][1]) if found else None

    async def log_place(self, log: Log, until: float) -> int:
        """The place of the last entry of a log that is not after a time; 0 for none. Halves the log some 30 times."""
        low, high = 0, await self.log_end(log)
        while low < high:
            middle = (low + high) // 2
            (found,) = await self._ask(("XRANGE", keys.LOGS[log], f"({middle}-0", "+", "COUNT", 1))
            if not found:
                high = middle
                continue
            place, blob = _seq(found[0][0]), found[0][1][1]
            ticks = [part for part in read([(place, blob)], place - len(blob)) if isinstance(part, Tick)]
            if ticks and ticks[0].at <= until:
                low = place
            else:
                high = middle
        return low

    async def log_end(self, log: Log) -> int:
        """The place of the newest entry of a log; 0 if it has none."""
        (found,) = await self._ask(("XREVRANGE", keys.LOGS[log], "+", "-", "COUNT", 1))
        return int(found[0][0].partition(b"-")[0]) if found else 0

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

    async def unacknowledged(self, run_id: str, group: str, count: int) -> list[Unacknowledged] | None:
        """The first trees of a run's feed that a group has not acknowledged; None for a group that is none."""
        feed = keys.feed(run_id)
        last = await self._last_delivered(feed, group)
        if last is None:
            return None
        pending, tick = await self._ask(("XPENDING", feed, group, "-", "+", count), ("HGET", keys.OWNER, "tick"))
        found = []
        for entry_id, consumer, idle_ms, deliveries in pending:
            entry, deadline = await self._ask(
                ("XRANGE", feed, entry_id, entry_id), ("ZSCORE", keys.leases(run_id, group), f"{_seq(entry_id):016d}")
            )
            if entry:  # else it has expired
                name, left_s = consumer.decode(errors="replace"), _left_s(deadline, tick)
                found.append(Unacknowledged(*_entry(entry[0]), name, idle_ms / 1000, deliveries, left_s))
        if len(found) < count:
            (behind,) = await self._ask(("XRANGE", feed, f"({last}", "+", "COUNT", count - len(found)))
            found += [Unacknowledged(*_entry(entry)) for entry in behind]
        return sorted(found, key=lambda one: one.place)

    async def _last_delivered(self, feed: str, group: str) -> str | None:
        """Entry that the group was handed last; None for a group that is none."""
        if not (await self._ask(("EXISTS", feed)))[0]:
            return None
        (groups,) = await self._ask(("XINFO", "GROUPS", feed))
        facts = [dict(zip(found[::2], found[1::2], strict=True)) for found in groups]
        return next((fact[b"last-delivered-id"].decode() for fact in facts if fact[b"name"] == group.encode()), None)

    async def _ask(self, *commands: Command) -> list[Any]:
        with store_errors(self.address):
            return await ask(self._redis, commands)


def _seq(entry_id: bytes) -> int:
    return int(entry_id.partition(b"-")[0])


def _entry(entry: tuple[bytes, list[bytes]]) -> tuple[int, str]:
    """Its place, and its tree."""
    return _seq(entry[0]), entry[1][1].decode()


def _left_s(deadline: bytes | None, tick: bytes | None) -> float | None:
    if deadline is None or tick is None:
        return None
    return (float(deadline) - int(tick)) / 1e6
