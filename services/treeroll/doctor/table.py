"""All checks, in the order in which they are made: later ones use what earlier ones have found out."""

from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import replace

from treeroll.doctor import cluster, coordinator, host, store
from treeroll.doctor.finding import Finding, wrong
from treeroll.doctor.ground import Ground
from treeroll.errors import TreerollError

Check = Callable[[Ground], AsyncIterator[Finding]]
"""Yields what it finds out. A TreerollError that it raises is one that is wrong."""

CHECKS: Mapping[str, Check] = {
    "model": host.models,
    "this host": host.room,
    "store": store.store,
    "coordinator": coordinator.reached,
    "certificate": coordinator.certificate,
    "token": coordinator.token,
    "ports": host.ports,
    "ray": cluster.ray,
}


async def examine(ground: Ground) -> AsyncIterator[Finding]:
    """Make all checks."""
    for name, check in CHECKS.items():
        try:
            async for finding in check(ground):
                yield replace(finding, check=name)
        except TreerollError as error:
            yield replace(wrong(str(error)), check=name)
