"""Global batches that ranks share, in Redis; `keys.py` says how they are kept."""

from typing import Any

from treeroll.store import keys
from treeroll.store.base import Available, Step
from treeroll.store.redis_connection import Arg
from treeroll.store.redis_groups import RedisGroups, check_new, group_keys
from treeroll.store.refusals import moved_group, shared_otherwise, step_is_done, step_too_far


class RedisSteps(RedisGroups):
    """Feeds, groups, and the batches that groups of ranks take together."""

    async def available(self, run_id: str, group: str, count: int, epoch: int) -> Available:
        where = [*group_keys(run_id, group), keys.EXPIRED, keys.FEEDS, keys.OWNER]
        first, *found = await self._script("available", where, [group, run_id, epoch, count, self._tick()])
        check_new(run_id, group, first, *found[:1])
        if first == b"MOVED":
            raise moved_group(run_id, group, found[0])
        names = [tree_id.decode() for tree_id in found[1::2]]
        return Available(list(zip(found[::2], names, strict=True)), first)

    async def find_step(self, run_id: str, group: str, number: int, rank: int, world: int, epoch: int) -> Step:
        return _step(*await self._on_step("find_step", run_id, group, number, [epoch, number, rank, world]))

    async def take_step(self, run_id: str, group: str, step: Step, seqs: list[int], epoch: int) -> Step | None:
        args: list[Arg] = [group, epoch, step.number, step.world, step.record, self._tick(), *seqs]
        found = await self._on_step("take_step", run_id, group, step.number, args)
        return _step(*found) if found else None

    async def share_step(self, run_id: str, group: str, step: Step, world: int, epoch: int) -> Step:
        args: list[Arg] = [epoch, step.number, world, step.world, step.record]
        found = await self._on_step("share_step", run_id, group, step.number, args, step.world)
        return _step(*found)

    async def ack_share(self, run_id: str, group: str, number: int, rank: int, world: int, epoch: int) -> bool:
        args: list[Arg] = [group, epoch, number, rank, world]
        return bool((await self._on_step("ack_share", run_id, group, number, args, world))[0])

    async def _on_step(
        self, verb: str, run_id: str, group: str, number: int, args: list[Arg], world: int = 0
    ) -> list[Any]:
        """Run a script on a batch; what it found, nothing if entries have changed."""
        found: list[Any] = await self._script(verb, [*group_keys(run_id, group), keys.OWNER], args)
        verdict, detail = found[0], found[1:]
        if verdict == b"MOVED":
            raise moved_group(run_id, group, detail[0])
        if verdict == b"DONE":
            raise step_is_done(run_id, group, number)
        if verdict == b"FAR":
            raise step_too_far(run_id, group, number, detail[0])
        if verdict in (b"WORLD", b"ACKED"):
            raise shared_otherwise(run_id, group, number, world, detail[0])
        return detail


def _step(number: int, world: int = 0, record: bytes = b"", taken_now: int = 0) -> Step:
    return Step(number, world, record, bool(taken_now))
