"""The feed's consumer groups in Redis; `scripts/group.lua` says how they are kept."""

from treeroll import ranges
from treeroll.store import keys, lease_id
from treeroll.store.base import FeedMark, GroupPosition, GroupState, Lease, Move, Unacknowledged
from treeroll.store.redis_calls import RedisCalls, microseconds
from treeroll.store.redis_connection import Arg
from treeroll.store.refusals import beyond_feed, expired_state, late_group, lost_entries, many_groups, moved_group

# Entries per XRANGE of a whole feed: bounds the size of one reply.
_PAGE = 5_000


class RedisGroups(RedisCalls):
    """Feeds and what groups have of them."""

    async def feed_length(self, run_id: str) -> int:
        return int(await self._call("HGET", keys.FEEDS, run_id) or 0)

    async def feed_entries(self, run_id: str) -> list[str]:
        found: list[str] = []
        start = "-"
        while page := await self._call("XRANGE", keys.feed(run_id), start, "+", "COUNT", _PAGE):
            found += [tree_id.decode() for _, (_, tree_id) in page]
            start = f"({page[-1][0].decode()}"
        return found

    async def open_group(self, run_id: str, group: str, *, latest: bool) -> GroupPosition:
        where = [*group_keys(run_id, group), keys.EXPIRED, keys.FEEDS, keys.OPENED]
        found = await self._script("open_group", where, [group, run_id, "latest" if latest else "first"])
        check_new(run_id, group, *found[:2])
        epoch, opened, steps, steps_out, delivered, *pending = found
        acknowledged = ranges.missing(ranges.of(pending), delivered)
        return GroupPosition(epoch, acknowledged, steps, steps_out, _marks(opened))

    async def move_group(self, run_id: str, group: str, move: Move) -> GroupPosition:
        where = [*group_keys(run_id, group), keys.EXPIRED, keys.FEEDS, keys.OPENED]
        seen = [part for mark in move.seen for part in mark]
        edges = [edge for pair in move.acknowledged for edge in pair]
        args: list[Arg] = [group, run_id, move.move_id, move.steps, int(move.by_ranks), len(move.seen), *seen, *edges]
        verdict, *detail = await self._script("move_group", where, args)
        if verdict == b"BEYOND":
            raise beyond_feed(run_id, group, edges[-1], detail[0])
        if verdict == b"LOST":
            raise lost_entries(run_id, group, *detail)
        if verdict == b"MANY":
            raise many_groups(run_id, group, detail[0])
        if verdict == b"EXPIRED":
            raise expired_state(run_id, group, detail[0], ranges.missing(move.acknowledged, detail[0]))
        return await self.open_group(run_id, group, latest=False)

    async def lease(
        self, run_id: str, group: str, consumer: str, count: int, lease_s: float, epoch: int | None = None
    ) -> list[Lease]:
        if count <= 0:
            return []
        where = [*group_keys(run_id, group), keys.EXPIRED, keys.FEEDS, keys.OWNER]
        wanted = "" if epoch is None else epoch
        args: list[Arg] = [group, consumer, count, microseconds(lease_s), run_id, wanted, self._tick()]
        found, *lent = await self._script("lease", where, args)
        check_new(run_id, group, found, *lent[:1])
        if found == b"MOVED":
            raise moved_group(run_id, group, lent[0])
        return [_lease(found, consumer, *lent[at : at + 3]) for at in range(0, len(lent), 3)]

    async def renew(self, run_id: str, group: str, lease_ids: list[str], lease_s: float) -> list[str]:
        return await self._settle("renew", run_id, lease_ids, [group, microseconds(lease_s), self._tick()])

    async def ack(self, run_id: str, group: str, lease_ids: list[str]) -> list[str]:
        return await self._settle("ack", run_id, lease_ids, [group])

    async def release(self, run_id: str, group: str, lease_ids: list[str]) -> list[str]:
        return await self._settle("release", run_id, lease_ids, [group])

    async def release_all(self, run_id: str, group: str, consumer: str) -> None:
        await self._script("release_all", [keys.feed(run_id), keys.leases(run_id, group)], [group, consumer])

    async def _settle(self, verb: str, run_id: str, lease_ids: list[str], args: list[Arg]) -> list[str]:
        """Run a script on leases; the ids it refused, in the order given."""
        known = {at: parsed for at, text in enumerate(lease_ids) if (parsed := lease_id.parse(text))}
        refused = set(range(len(lease_ids))) - known.keys()
        if known:
            group = str(args[0])
            parts = [part for lease in known.values() for part in lease]
            where = [*group_keys(run_id, group), keys.OWNER]
            positions = await self._script(verb, where, [*args, *parts])
            if positions[:1] == [b"MOVED"]:
                raise moved_group(run_id, group, positions[1])
            order = list(known)
            refused.update(order[position] for position in positions)
        return [lease_ids[at] for at in sorted(refused)]

    async def group_state(self, run_id: str, group: str) -> GroupState:
        where = [keys.FEEDS, keys.feed(run_id), keys.leases(run_id, group), keys.OWNER]
        entries, delivered, pending, expired = await self._script("state", where, [run_id, group, self._tick()])
        return GroupState(delivered - pending, pending - expired, entries - delivered + expired)

    async def unacknowledged(self, run_id: str, group: str) -> Unacknowledged:
        delivered, *pending = await self._script("unacknowledged", [keys.feed(run_id)], [group])
        return Unacknowledged(delivered, pending)

    async def settled(self, run_id: str) -> int:
        return int(await self._script("settled", [keys.feed(run_id)], []))

    async def group_names(self, run_id: str) -> list[str]:
        return [name.decode() for name in await self._script("groups", [keys.feed(run_id)], [])]


def check_new(run_id: str, group: str, verdict: int | bytes, detail: int = 0) -> None:
    """Raise why a group cannot begin, if a script says that it cannot."""
    if verdict == b"EXPIRED":
        raise late_group(run_id, group, detail)
    if verdict == b"MANY":
        raise many_groups(run_id, group, detail)


def group_keys(run_id: str, group: str) -> list[str]:
    """The feed, then a group's own keys."""
    own = (keys.leases, keys.redelivered, keys.group, keys.steps)
    return [keys.feed(run_id), *(key(run_id, group) for key in own)]


def _marks(stored: bytes) -> list[FeedMark]:
    pairs = (mark.split(b":") for mark in stored.split())
    return [(int(epoch), int(entries)) for epoch, entries in pairs]


def _lease(epoch: int, consumer: str, seq: int, delivery: int, tree_id: bytes) -> Lease:
    name = str(lease_id.LeaseId(epoch, seq, delivery, consumer))
    return Lease(name, tree_id.decode(), seq, delivery)
