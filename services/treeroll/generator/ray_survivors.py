"""Replicas that a fleet left in a Ray cluster when it was killed: the next fleet of its name finds them by theirs."""

import asyncio
import logging
from dataclasses import dataclass
from typing import Any

import ray

from treeroll.generator.actor import Post
from treeroll.generator.config import GeneratorConfig
from treeroll.generator.seats import Roster

log = logging.getLogger(__name__)

# One that starts its engine may be deaf for longer: a new one is then as good.
ANSWER_S = 30.0
# How long what is not wanted any more may run on.
DRAIN_S = 600.0


@dataclass(frozen=True, slots=True)
class Survivor:
    """A replica that lives, with what it was made with."""

    actor: Any
    config: GeneratorConfig
    post: Post
    joined: bool
    """Whether it works for a coordinator."""

    def is_as(self, config: GeneratorConfig) -> bool:
        """Whether it would be made alike by these settings of its pool."""
        others = {name: getattr(config, name) for name in ("replicas", "ready_replicas")}
        return self.config.model_copy(update=others) == config


def actor_name(kept_as: str, post: Post) -> str:
    """What the actor of a replica is called in the cluster; `kept_as` is its fleet's name there."""
    return f"{kept_as} {post.replica_id}.{post.incarnation}"


async def adopted(kept_as: str, roster: Roster) -> dict[str, Survivor]:
    """All that are there of a fleet, by the names of the seats that they have from now on. Those with other settings,
    or more than are wanted, are drained; whoever does not answer, or has no place here, is ended."""
    found: dict[str, Survivor] = {}
    for one in await _survivors(kept_as):
        name = one.post.replica_id
        seat = roster.adopt(name, one.post.pool)
        if seat is None:
            log.warning("replica %s of an earlier fleet is ended: it has no place here", name)
            ray.kill(one.actor)
            continue
        if name in found:
            ray.kill(found[name].actor)
        found[name], seat.ready = one, one.joined
        if not one.is_as(seat.config):
            roster.end(seat, DRAIN_S, "its settings are those of an earlier fleet")
    for pool, wanted in roster.wanted.items():
        roster.scale(pool, wanted, (), DRAIN_S)
    for seat in list(roster.seats.values()):
        if seat.until is not None and seat.replica_id not in found:
            roster.remove(seat)
    return found


async def _survivors(kept_as: str) -> list[Survivor]:
    """Older incarnations first."""
    names = await asyncio.to_thread(ray.util.list_named_actors)
    asked = await asyncio.gather(*(_ask(name) for name in names if name.startswith(f"{kept_as} ")))
    return sorted((one for one in asked if one is not None), key=lambda one: one.post.incarnation)


async def _ask(name: str) -> Survivor | None:
    try:
        actor = await asyncio.to_thread(ray.get_actor, name)
    except ValueError:  # it has just ended
        return None
    try:
        async with asyncio.timeout(ANSWER_S):
            config_json, post, joined = await actor.identity.remote()
    except (TimeoutError, ray.exceptions.RayError) as error:
        why = "it does not answer" if isinstance(error, TimeoutError) else str(error).partition("\n")[0]
        log.warning("the actor '%s' of an earlier fleet is ended: %s", name, why)
        ray.kill(actor)
        return None
    return Survivor(actor, GeneratorConfig.model_validate_json(config_json), post, joined)
