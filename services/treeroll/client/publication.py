"""Publishing weights: the call, the wait until every replica has them, and the ledger of who holds what."""

import asyncio
import os
from dataclasses import dataclass
from pathlib import Path

from treeroll.checks import check_path, whole
from treeroll.client.channel import Channel
from treeroll.client.patience import check_timeout
from treeroll.errors import InvalidInput, Unavailable, WeightsRefused
from treeroll.pb.v1 import rollout_pb2

# The service answers a wait after so long at the latest.
WAIT_S = 10.0
MAX_VERSION = 2**63 - 1


@dataclass(slots=True)
class PublishedWeights:
    """One version of a pool's weights, on its way or settled."""

    version: int
    path: str
    digest: str
    """Of the directory's content; "" while no replica has said it, and nobody gave it."""
    phase: str
    """"staging", "waiting" (for trees of runs that finish first), "flipping", "done" or "refused"."""
    published_at: float
    """Seconds since the Unix epoch."""
    seconds: float
    """From then until every replica that was ready had loaded it, or it was refused; 0 before that."""
    error: str
    """Why it was refused, as a sentence."""

    @classmethod
    def from_proto(cls, told: rollout_pb2.PublishedWeights) -> "PublishedWeights":
        """Read it from the wire."""
        return cls(told.version, told.path, told.digest, told.phase, told.published_at, told.seconds, told.error)


@dataclass(slots=True)
class ReplicaWeights:
    """What one replica holds."""

    replica_id: str
    version: int
    """0 is the model as it was started with."""
    digest: str
    state: str
    """"ready", "staging", "staged", "loading" or "behind"; the last two get no work before they have caught up."""
    since: float
    """When it came to this version, seconds since the Unix epoch."""
    seconds: float
    """What its last order about weights took."""
    error: str
    """Why it refused that, if it did."""

    @classmethod
    def from_proto(cls, told: rollout_pb2.ReplicaWeights) -> "ReplicaWeights":
        """Read it from the wire."""
        return cls(told.replica_id, told.version, told.digest, told.state, told.since, told.seconds, told.error)


@dataclass(slots=True)
class WeightsStatus:
    """The ledger of a pool's weights."""

    pool: str
    version: int
    """In force; 0 is the model as the replicas were started with."""
    path: str
    digest: str
    publication: PublishedWeights | None
    """The version that is on its way, if one is."""
    replicas: list[ReplicaWeights]
    history: list[PublishedWeights]
    """Publications that have ended, oldest first, the last 64."""
    in_use: list[str]
    """Directories that may still be read, as absolute paths. All others that were published may be deleted; the service
    deletes none."""

    @classmethod
    def from_proto(cls, told: rollout_pb2.WeightsStatus) -> "WeightsStatus":
        """Read it from the wire."""
        return cls(
            pool=told.pool,
            version=told.version,
            path=told.path,
            digest=told.digest,
            publication=PublishedWeights.from_proto(told.publication) if told.HasField("publication") else None,
            replicas=list(map(ReplicaWeights.from_proto, told.replicas)),
            history=list(map(PublishedWeights.from_proto, told.history)),
            in_use=list(told.in_use),
        )

    def of(self, version: int) -> PublishedWeights | None:
        """The latest publication of a version; None for one that is not known."""
        known = [*self.history, *([self.publication] if self.publication else [])]
        return next((one for one in reversed(known) if one.version == version), None)

    def unused(self, folder: str | Path) -> list[Path]:
        """Directories in `folder` that nobody reads any more, if all in it are weights that were published.

        However the folder is named: what a link leads to, and what is below a directory, counts as in it.
        """
        held = [Path(os.path.realpath(path)) for path in self.in_use]
        inside = [path for path in sorted(Path(os.path.realpath(folder)).iterdir()) if path.is_dir()]
        return [path for path in inside if not path.is_symlink() and not any(one.is_relative_to(path) for one in held)]


async def weights(channel: Channel, pool: str = "", settled_version: int = 0, wait_s: float = 0.0) -> WeightsStatus:
    """The ledger of a pool, "" for the only one; waits up to wait_s while the version is on its way."""
    request = rollout_pb2.GetWeightsRequest(pool=pool, settled_version=settled_version, wait_s=wait_s)
    told = await channel.call("GetWeights", request, rollout_pb2.WeightsStatus, extra_s=wait_s)
    return WeightsStatus.from_proto(told)


async def publish_weights(
    channel: Channel, pool: str, path: str | Path, version: int, digest: str | None, wait: bool, timeout_s: float
) -> WeightsStatus:
    """Publish weights, and wait until the pool's ready replicas have loaded them; see `Client.publish_weights`."""
    check_path("path", path)
    if not 1 <= (whole(version) or 0) <= MAX_VERSION:
        raise InvalidInput(f"a version of weights is a whole number from 1 to 2^63 - 1, got {version}")
    check_timeout(timeout_s)
    request = rollout_pb2.PublishWeightsRequest(pool=pool, version=version, path=_absolute(path), digest=digest or "")
    told = await channel.call("PublishWeights", request, rollout_pb2.WeightsStatus)
    status = WeightsStatus.from_proto(told)
    return await _settled(channel, status, version, timeout_s) if wait else status


async def _settled(channel: Channel, status: WeightsStatus, version: int, timeout_s: float) -> WeightsStatus:
    clock = asyncio.get_running_loop().time
    deadline = clock() + timeout_s
    while status.publication is not None and status.publication.version == version:
        left = deadline - clock()
        if left <= 0:
            raise Unavailable(
                f"weights version {version} of pool '{status.pool}' is {status.publication.phase} after {timeout_s:g} "
                f"s: {_standing(status)}; client.weights() shows when it is done"
            )
        status = await weights(channel, status.pool, version, min(left, WAIT_S))
    published = status.of(version)
    if published is None and status.version < version:
        raise Unavailable(
            f"the service knows nothing of weights version {version} of pool '{status.pool}' any more: it has started "
            "anew without its store; publish them again"
        )
    if published is not None and published.phase == "refused":
        raise WeightsRefused(published.error)
    return status


def _absolute(path: str | Path) -> str:
    return os.path.abspath(path)


def _standing(status: WeightsStatus) -> str:
    """What each replica does, in a few words."""
    replicas = [f"{one.replica_id} with version {one.version} is {one.state}" for one in status.replicas]
    return ", ".join(replicas) or "no replica has joined"
