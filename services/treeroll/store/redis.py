"""The store in Redis: one script per state change, one round trip per call. `keys.py` has the schema."""

import asyncio
import os
import secrets
import socket
from typing import Any

from treeroll import __version__, clock
from treeroll.errors import LostWork, StaleEpoch, StoreError
from treeroll.store import keys
from treeroll.store.base import Commit, Heartbeat, Log, LogEntry
from treeroll.store.commit_args import changed, commit_args, hole
from treeroll.store.redis_connection import Arg, store_errors
from treeroll.store.redis_groups import group_keys
from treeroll.store.redis_replies import pairs
from treeroll.store.redis_settings import check_durability, check_server
from treeroll.store.redis_trees import RedisTrees

# Trees that one script removes: it holds everything else up.
_DELETED_AT_ONCE = 200


class RedisStore(RedisTrees):
    """A store in a Redis server, version 6.2 or later, given as `redis://`, `rediss://` or `unix://` URL.

    Only the owner, who writes, needs `open`. Readers and the feed may use a RedisStore that never took over.
    A call that gets no answer within `timeout_s` raises StoreDown.
    """

    def __init__(self, url: str, *, durability: str = "everysec", timeout_s: float = 10.0) -> None:
        """InvalidInput if the URL or the durability is none we know. Connects later, when first used."""
        super().__init__(url, timeout_s)
        self.url: str | None = url
        self.durability = check_durability(durability)
        self._epoch = 0
        self._sent = 0  # number of the last commit sent under this epoch
        self._acked = 0  # and of the last one answered for
        self._turn = asyncio.Lock()

    # The owner

    async def open(self, after: int = 0, heard: Heartbeat | None = None) -> int:
        async with self._turn:
            with store_errors(self.address):
                await check_server(self._redis, self.durability, self.address)
            name = f"process {os.getpid()} on {socket.gethostname()}"
            last = (-1, 0, 0) if heard is None else (heard.epoch, heard.commit, heard.beats)
            found = await self._script(
                "open", [keys.OWNER, keys.FEEDS, keys.OPENED], [name, after, keys.SCHEMA, __version__, *last]
            )
            if found[0] < 0:
                who = found[2].decode(errors="replace")
                raise StaleEpoch(f"{self.address} was opened by {who} as epoch {found[1]} meanwhile")
            if found[0] == 0:
                raise StoreError(
                    f"{self.address} was written by treeroll {found[2].decode(errors='replace')}, whose schema is "
                    f"{found[1]}, and treeroll {__version__} knows schema {keys.SCHEMA}: start that version, or give "
                    "this one another store"
                )
            self._epoch, tick = found
            self._ticks = tick, clock.monotonic()
            self._sent = self._acked = 0
            return self._epoch

    async def check(self) -> str:
        """The server's version. StoreError if it would lose data, as `open` says; but nothing is written."""
        with store_errors(self.address):
            return await check_server(self._redis, self.durability, self.address)

    async def line(self) -> int:
        return int(await self._call("HGET", keys.OWNER, "line") or 0)

    async def heartbeat(self) -> Heartbeat | None:
        epoch, commit, name, beats = await self._call("HMGET", keys.OWNER, "epoch", "commit", "name", "beats")
        if epoch is None:
            return None
        return Heartbeat(int(epoch), int(commit or 0), (name or b"").decode(errors="replace"), int(beats or 0))

    async def beat(self, epoch: int) -> None:
        owner = await self._script("beat", [keys.OWNER], [epoch])
        self._check_fenced(owner, epoch)
        if owner < 0:
            raise StoreError(f"{self.address} does not know epoch {epoch}: it went back in time")

    async def secret(self) -> bytes:
        found: bytes = await self._script("secret", [keys.SECRET], [secrets.token_hex(32)])
        return bytes.fromhex(found.decode())

    async def commit(self, commit: Commit, epoch: int) -> None:
        await self._shielded(self._commit(commit, epoch))

    async def _commit(self, commit: Commit, epoch: int) -> None:
        async with self._turn:  # one at a time: commits apply in the order they were made
            self._check_epoch(epoch)
            commit_keys, args = commit_args(commit)
            self._number(commit)
            tick, at = self._tick(), clock.monotonic()
            header: list[Arg] = [epoch, self._sent, self._acked, tick]
            verdict, *detail = await self._evaluate("commit", commit_keys, header + args)
            if verdict != b"OK":
                raise self._refusal(verdict, detail, commit, epoch)
            self._acked = self._sent
            self._ticks = tick, at

    def _number(self, commit: Commit) -> None:
        """Give it the next number, or leave it that under which it was sent before."""
        if commit.number == 0:
            self._sent += 1
            commit.number = self._sent
        elif commit.number != self._sent:  # would be taken for done
            raise StoreError(f"commit {commit.number} cannot be sent again after commit {self._sent} was sent")

    def _check_epoch(self, epoch: int) -> None:
        if self._epoch == 0:
            raise StoreError(f"{self.address} must be opened before the first commit")
        if epoch < self._epoch:
            raise _stale(self.address, epoch, self._epoch)
        if epoch > self._epoch:
            raise StoreError(f"{self.address} was opened under epoch {self._epoch}, not {epoch}: commit under that")

    def _refusal(self, verdict: bytes, detail: list[Any], commit: Commit, epoch: int) -> Exception:
        if verdict == b"STALE":
            return _stale(self.address, epoch, detail[0], detail[1].decode(errors="replace"))
        if verdict == b"LOST":
            there = f"to commit {detail[1]} of epoch {detail[0]}" if detail[0] else "and is empty"
            return LostWork(
                f"{self.address} went back in time, {there}, but had answered for commit {self._acked} of epoch "
                f"{epoch} (it was emptied, a crash with durability everysec, or a restored backup)"
            )
        tree_id, rows = list(commit.nodes.items())[detail[0] - 1]
        if verdict == b"DIFFERENT":
            return changed(tree_id, detail[1])
        return hole(tree_id, min(rows)[0], detail[1] - 1)

    # What the owner says of itself

    async def save_snapshot(self, snapshot: bytes, point: bytes, epoch: int) -> None:
        where = [keys.OWNER, keys.STATUS, keys.POINTS]
        args: list[Arg] = [epoch, snapshot, point, keys.KEPT_POINTS]
        owner = await self._script("status", where, args)
        self._check_fenced(owner, epoch)
        if owner < 0:
            raise StoreError(f"{self.address} does not know epoch {epoch}: it went back in time")

    async def load_snapshot(self) -> bytes | None:
        found: bytes | None = await self._call("GET", keys.STATUS)
        return found

    async def load_points(self, after: str = "", most: int = 1000) -> list[tuple[str, bytes]]:
        first = f"({after}" if after else "-"
        found = await self._call("XRANGE", keys.POINTS, first, "+", "COUNT", most)
        return [(name.decode(), point) for name, (_, point) in found]

    async def log_end(self, log: Log) -> int:
        return int(await self._call("HGET", keys.OWNER, log) or 0)

    async def load_log(self, log: Log, after: int, most: int) -> list[LogEntry]:
        found = await self._call("XRANGE", keys.LOGS[log], f"({after}-0", "+", "COUNT", most)
        return [(int(name.partition(b"-")[0]), fields[1]) for name, fields in found]

    # Reads

    async def used(self) -> float | None:
        lines = (await self._call("INFO", "memory")).decode().splitlines()
        found = dict(line.split(":", 1) for line in lines if ":" in line)
        limit = int(found["maxmemory"])
        # What Redis itself compares with the limit leaves out the buffers of its file.
        return (int(found["used_memory"]) - int(found["mem_not_counted_for_evict"])) / limit if limit else None

    async def run_ids(self) -> list[str]:
        return [key.decode() for key in await self._call("HKEYS", keys.RUNS)]

    async def load_runs(self) -> dict[str, bytes]:
        stored: list[bytes] = await self._call("HGETALL", keys.RUNS)
        return {run_id.decode(): record for run_id, record in pairs(stored)}

    async def load_run(self, run_id: str) -> bytes | None:
        record: bytes | None = await self._call("HGET", keys.RUNS, run_id)
        return record

    async def load_tasks(self, run_id: str) -> dict[str, tuple[str, str]]:
        stored: list[bytes] = await self._call("HGETALL", keys.tasks(run_id))
        found = {}
        for key, value in pairs(stored):
            digest, _, tree_id = value.decode().partition(" ")
            found[key.decode()] = (tree_id, digest)
        return found

    async def load_history(self, run_id: str) -> dict[str, str]:
        stored: list[bytes] = await self._call("HGETALL", keys.history(run_id))
        return {key.decode(): record.decode() for key, record in pairs(stored)}

    async def load_memory(self, run_id: str) -> dict[str, str]:
        stored: list[bytes] = await self._call("HGETALL", keys.memory(run_id))
        return {part.decode(): value.decode() for part, value in pairs(stored)}

    async def load_weights(self) -> dict[str, bytes]:
        stored: list[bytes] = await self._call("HGETALL", keys.WEIGHTS)
        return {pool.decode(): record for pool, record in pairs(stored)}

    async def load_models(self) -> dict[str, bytes]:
        stored: list[bytes] = await self._call("HGETALL", keys.MODELS)
        return {pool.decode(): record for pool, record in pairs(stored)}

    async def load_sessions(self) -> dict[str, bytes]:
        stored: list[bytes] = await self._call("HGETALL", keys.SESSIONS)
        return {replica.decode(): record for replica, record in pairs(stored)}

    # What goes

    async def expire(self, run_id: str, upto: int, epoch: int) -> list[str]:
        upto, gone = min(upto, await self.settled(run_id)), list[str]()
        while page := await self._call("XRANGE", keys.feed(run_id), "-", f"{upto}-0", "COUNT", _DELETED_AT_ONCE):
            trees = [tree_id.decode() for _, (_, tree_id) in page]
            if not await self._delete(run_id, trees, epoch, int(page[-1][0].partition(b"-")[0])):
                break  # a group began meanwhile
            gone += trees
        return gone

    async def expired(self, run_id: str) -> int:
        return int(await self._call("HGET", keys.EXPIRED, run_id) or 0)

    async def all_expired(self) -> dict[str, int]:
        stored: list[bytes] = await self._call("HGETALL", keys.EXPIRED)
        return {run_id.decode(): int(count) for run_id, count in pairs(stored)}

    async def ended_s(self, run_id: str, epoch: int, *, anew: bool = False) -> float:
        newer, *since = await self._script("ended", [keys.OWNER, keys.ENDED], [epoch, run_id, self._tick(), int(anew)])
        self._check_fenced(newer, epoch)
        return int(since[0]) / 1_000_000

    async def delete_run(self, run_id: str, epoch: int) -> int:
        tasks = await self.load_tasks(run_id)
        trees = [tree_id for tree_id, _ in tasks.values()]
        for at in range(0, len(trees), _DELETED_AT_ONCE):
            await self._delete(run_id, trees[at : at + _DELETED_AT_ONCE], epoch)
        await self._forget_decisions(run_id, epoch)
        own = [keys.feed(run_id), keys.tasks(run_id), keys.history(run_id), keys.memory(run_id)]
        for group in await self.group_names(run_id):
            own += group_keys(run_id, group)[1:]
        where = [keys.OWNER, keys.RUNS, keys.FEEDS, keys.EXPIRED, keys.ENDED, keys.OPENED, *own]
        self._check_fenced(await self._script("forget", where, [epoch, run_id]), epoch)
        return len(tasks)

    async def _forget_decisions(self, run_id: str, epoch: int) -> None:
        after = 0
        while after >= 0:
            newer, after = await self._script(
                "forget_ticks", [keys.OWNER, keys.TICKS], [epoch, run_id, after, _DELETED_AT_ONCE]
            )
            self._check_fenced(newer, epoch)

    async def _delete(self, run_id: str, trees: list[str], epoch: int, upto: int = 0) -> bool:
        where = [keys.OWNER, keys.EXPIRED, keys.feed(run_id)]
        for tree_id in trees:
            where += (keys.tree(tree_id), keys.nodes(tree_id), keys.rewards(tree_id), keys.journal(tree_id))
        verdict = await self._script("delete", where, [epoch, run_id, upto])
        self._check_fenced(verdict, epoch)
        return bool(verdict == 0)

    def _check_fenced(self, newer: int, epoch: int) -> None:
        if newer > 0:
            raise _stale(self.address, epoch, newer)


def _stale(address: str, epoch: int, newer: int, name: str = "") -> StaleEpoch:
    who = f", of {name}" if name else ""
    return StaleEpoch(f"{address} belongs to epoch {newer}{who}, now: epoch {epoch} may write no more")
