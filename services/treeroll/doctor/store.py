"""The store: whether it is there, keeps what is written to it, answers soon, and whose it is."""

import statistics
from collections.abc import AsyncIterator

from treeroll import clock
from treeroll.doctor.finding import Finding, not_checked, ok, wrong
from treeroll.doctor.ground import Ground
from treeroll.store.factory import make_store
from treeroll.store.redis import RedisStore
from treeroll.store.redis_settings import MENDED_IN, known_hole

ASKED = 20
# A tick waits for its commit, and a segment for its tick: at most so long should be the way to the store and back.
SLOW_S = 0.02


async def store(ground: Ground) -> AsyncIterator[Finding]:
    """What opening it would check, and how long a question takes; nothing is written."""
    config = ground.config.store
    if config.url in (None, "memory"):
        kind = "an embedded Redis, which the service starts" if config.url is None else "memory, which goes with it"
        yield not_checked(f"store.url is {config.url or 'not set'}: {kind}")
        return
    found = make_store(config.url or "", config.durability)
    if not isinstance(found, RedisStore):
        raise TypeError(f"{config.url} is no Redis")
    try:
        version = await found.check()
        yield ok(f"{found.address} is Redis {version}, evicts nothing and keeps a file ({config.durability})")
        if known_hole(version) and not found.address.startswith("unix:"):
            yield wrong(
                f"{found.address} is Redis {version}, in which whoever may run scripts may run code (CVE-2025-49844): "
                f"take {MENDED_IN} or later"
            )
        yield await _latency(found)
        owner = await found.heartbeat()
        yield ok(f"its owner is {owner.name}, epoch {owner.epoch}" if owner else "it has no owner yet")
    finally:
        await found.close()


async def _latency(found: RedisStore) -> Finding:
    times = []
    for _ in range(ASKED):
        began = clock.monotonic()
        await found.heartbeat()
        times.append(clock.monotonic() - began)
    median = statistics.median(times)
    said = f"a question takes {1000 * median:.1f} ms (median of {ASKED}; {1000 * max(times):.1f} at most)"
    if median > SLOW_S:
        return wrong(f"{said}, and each commit waits so long: have Redis near the coordinator, on a host with time")
    return ok(said)
