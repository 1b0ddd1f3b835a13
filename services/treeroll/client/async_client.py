"""AsyncClient: the client for asynchronous code, and the one implementation behind the synchronous one."""

import asyncio
from pathlib import Path
from typing import Any
from weakref import WeakSet

from treeroll.checks import check_path, check_text
from treeroll.client import publication
from treeroll.client.async_run import AsyncRun
from treeroll.client.channel import PATIENCE_S, Channel, Tls
from treeroll.client.fetch_tree import fetch_tree
from treeroll.client.publication import WeightsStatus
from treeroll.client.records import TreeRecord
from treeroll.client.status import AuditReport, RunStatus, ServiceStatus
from treeroll.client.stream import Stream
from treeroll.client.tokenizer import check_same
from treeroll.client.wire import create_run_request
from treeroll.errors import InvalidInput, UnknownRun
from treeroll.pb.v1 import rollout_pb2

# How long the service may read its whole store, seconds.
AUDIT_S = 3600.0
# What replicas that are to end may take for what they run, seconds.
DRAIN_S = 600.0


async def connect_async(
    address: str,
    *,
    token: str | None = None,
    tls: Tls = None,
    timeout_s: float = PATIENCE_S,
    connect_s: float | None = None,
) -> "AsyncClient":
    """Connect to a treeroll service at HOST:PORT; see `connect` for the parameters and errors."""
    channel = Channel(address, token=token, tls=tls, timeout_s=timeout_s)
    try:
        await channel.connect(connect_s)
    except BaseException:
        await channel.close()
        raise
    return AsyncClient(channel)


class AsyncClient:
    """A connection to a treeroll service. Every method raises Unavailable when the service does not answer in time."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._streams: WeakSet[Stream] = WeakSet()

    def __repr__(self) -> str:
        return f"<AsyncClient of {self.address}>"

    @property
    def address(self) -> str:
        """Where the service is."""
        return self._channel.address

    async def create_run(self, run_id: str, **config: Any) -> AsyncRun:
        """Create a run from RunConfig fields, or attach to the one that exists with an equal configuration.

        Raises InvalidInput naming a wrong key or value, RunConflict if the run exists with another configuration.
        """
        request = create_run_request(run_id, config)
        try:
            run = await self._channel.call("CreateRun", request, rollout_pb2.Run)
        except InvalidInput as error:
            if not str(error).startswith("scorer 'python:"):
                raise
            # The caller has the module, and takes it for the one that was not found.
            hint = "; its PYTHONPATH must hold the module" if "cannot be imported" in str(error) else ""
            raise InvalidInput(f"on the service at {self.address}, {error}{hint}") from None
        return AsyncRun(self._channel, run, self._streams)

    async def run(self, run_id: str) -> AsyncRun:
        """Attach to a run. Raises UnknownRun."""
        check_text("run_id", run_id)
        return AsyncRun(self._channel, await self._get_run(run_id), self._streams)

    async def runs(self) -> list[RunStatus]:
        """State and figures of all runs of the service, by name; see `Client.runs`."""
        asked = [self._get_run(run_id) for run_id in (await self.status()).run_ids]
        found = await asyncio.gather(*asked, return_exceptions=True)
        for run in found:
            if isinstance(run, BaseException) and not isinstance(run, UnknownRun):  # that was deleted meanwhile
                raise run
        return [RunStatus.from_proto(run) for run in found if not isinstance(run, BaseException)]

    async def check_tokenizer(self, path: str | Path) -> None:
        """Check that the trainer's tokenizer is the service's; see `Client.check_tokenizer`."""
        check_path("path", path)
        request = rollout_pb2.GetServiceRequest()
        service = await self._channel.call("GetService", request, rollout_pb2.ServiceStatus)
        await asyncio.to_thread(check_same, path, service.tokenizer.hash, self.address)

    async def _get_run(self, run_id: str) -> rollout_pb2.Run:
        return await self._channel.call("GetRun", rollout_pb2.GetRunRequest(run_id=run_id), rollout_pb2.Run)

    async def status(self) -> ServiceStatus:
        """The service at a glance."""
        request = rollout_pb2.GetServiceRequest()
        return ServiceStatus.from_proto(await self._channel.call("GetService", request, rollout_pb2.ServiceStatus))

    async def get_tree(self, tree_id: str) -> TreeRecord:
        """One tree as it is now, finished or growing, with rewards and advantages in force. Raises UnknownTree."""
        check_text("tree_id", tree_id)
        return TreeRecord.from_proto(await fetch_tree(self._channel, tree_id))

    async def audit(self) -> AuditReport:
        """Check the named invariants on the live store."""
        request = rollout_pb2.AuditRequest()
        reply = await self._channel.call("Audit", request, rollout_pb2.AuditReply, extra_s=AUDIT_S)
        return AuditReport.from_proto(reply)

    async def delete_run(self, run_id: str) -> int:
        """Remove a run with all that is stored of it; see `Client.delete_run`."""
        check_text("run_id", run_id)
        request = rollout_pb2.DeleteRunRequest(run_id=run_id)
        return int((await self._channel.call("DeleteRun", request, rollout_pb2.DeleteRunReply)).tasks)

    async def publish_weights(
        self,
        path: str | Path,
        version: int,
        *,
        pool: str = "",
        digest: str | None = None,
        wait: bool = True,
        timeout_s: float = 600.0,
    ) -> WeightsStatus:
        """Give a pool new weights; see `Client.publish_weights`."""
        return await publication.publish_weights(self._channel, pool, path, version, digest, wait, timeout_s)

    async def weights(self, pool: str = "") -> WeightsStatus:
        """The ledger of a pool's weights; see `Client.weights`."""
        return await publication.weights(self._channel, pool)

    async def drain(self) -> ServiceStatus:
        """Admit no new trees and finish the live ones; see `Client.drain`."""
        request = rollout_pb2.DrainRequest()
        return ServiceStatus.from_proto(await self._channel.call("Drain", request, rollout_pb2.ServiceStatus))

    async def undrain(self) -> ServiceStatus:
        """Take a drain back: waiting tasks are grown, and new ones accepted."""
        request = rollout_pb2.UndrainRequest()
        return ServiceStatus.from_proto(await self._channel.call("Undrain", request, rollout_pb2.ServiceStatus))

    async def drain_replicas(
        self, *targets: str, within_s: float = DRAIN_S, force: bool = False
    ) -> tuple[list[str], list[str]]:
        """End replicas in order, each named or all of a host; their fleets start others in their place, at once.

        What they run may end there for `within_s` seconds; what is left then goes on elsewhere. Gives the names of the
        replicas that drain, and of those that no fleet starts again.

        Raises InvalidInput for a name that is none, or, unless `force`, if no other replica works for trees that grow.
        """
        request = rollout_pb2.DrainReplicasRequest(targets=targets, within_s=within_s, force=force)
        reply = await self._channel.call("DrainReplicas", request, rollout_pb2.DrainReplicasReply)
        return list(reply.replicas), list(reply.unkept)

    async def scale(
        self, replicas: int, *, pool: str = "", fleet: str | None = None, within_s: float = DRAIN_S, force: bool = False
    ) -> int:
        """Have a fleet keep another number of a pool's replicas. Those with the least to do end as in
        `drain_replicas`. Gives how many it had before. `pool` "" is the only one; `fleet` None the only one.

        Raises InvalidInput if it is not clear which fleet; if trees grow, and none is to be left, unless `force`.
        """
        request = rollout_pb2.ScalePoolRequest(
            pool=pool, replicas=replicas, fleet=fleet, within_s=within_s, force=force
        )
        return (await self._channel.call("ScalePool", request, rollout_pb2.ScalePoolReply)).before

    async def close(self) -> None:
        """Give back all leases of unfinished iterators and disconnect."""
        for stream in list(self._streams):
            await stream.close()
        await self._channel.close()

    async def __aenter__(self) -> "AsyncClient":
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()
