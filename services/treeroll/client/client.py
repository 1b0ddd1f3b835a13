"""Client and Run: the synchronous client, a facade over the asynchronous one on a private event-loop thread."""

import contextlib
from pathlib import Path
from typing import Any

from treeroll.client.async_client import DRAIN_S, AsyncClient, connect_async
from treeroll.client.channel import PATIENCE_S, Tls
from treeroll.client.loop import LoopThread, shared_loop
from treeroll.client.publication import WeightsStatus
from treeroll.client.records import TreeRecord
from treeroll.client.run import CLOSE_S, Run
from treeroll.client.status import AuditReport, RunStatus, ServiceStatus


def connect(
    address: str,
    *,
    token: str | None = None,
    tls: Tls = None,
    timeout_s: float = PATIENCE_S,
    connect_s: float | None = None,
) -> "Client":
    """Connect to a treeroll service at HOST:PORT, e.g. "localhost:7070", and check that it answers.

    `address` may have several, "one:7070,other:7070", of a service and of those that stand by for it: the one that
    serves is found, now and whenever it is another. `token` is the client token, `tls` is True (system roots), the path
    of a PEM file of roots, or False for none; both are needed off this machine, and what is None comes from
    $TREEROLL_TOKEN and $TREEROLL_CA, a path.

    A service that is away (killed, restarting, behind a cut network) or that waits for its store is waited for: calls
    are repeated for up to timeout_s, 10 minutes, and act once; what is waited for, and since when, is logged.
    `connect_s` is how long connecting may take; None: at each address 3 s while calls are refused and 15 s while nobody
    answers them, timeout_s once somebody says that it is starting or stands by.

    Raises Unavailable when nobody answers, NotAuthenticated without a token that the service knows, InvalidInput for an
    address that is none, CallerError in a process that was forked from one that had connected: gRPC does not survive
    fork.
    """
    loop = shared_loop()
    made = connect_async(address, token=token, tls=tls, timeout_s=timeout_s, connect_s=connect_s)
    return Client(loop.run(made), loop)


class Client:
    """A connection to a treeroll service. Every method raises Unavailable when the service does not answer in time."""

    def __init__(self, client: AsyncClient, loop: LoopThread) -> None:
        self._client = client
        self._loop = loop

    def __repr__(self) -> str:
        return f"<Client of {self.address}>"

    @property
    def address(self) -> str:
        """Where the service is."""
        return self._client.address

    def create_run(self, run_id: str, **config: Any) -> Run:
        """Create a run from RunConfig fields, or attach to the one that exists with an equal configuration.

        Raises InvalidInput naming a wrong key or value, RunConflict if the run exists with another configuration.
        """
        return Run(self._loop.run(self._client.create_run(run_id, **config)), self._loop)

    def run(self, run_id: str) -> Run:
        """Attach to a run. Raises UnknownRun."""
        return Run(self._loop.run(self._client.run(run_id)), self._loop)

    def runs(self) -> list[RunStatus]:
        """State and figures of all runs of the service, by name."""
        return self._loop.run(self._client.runs())

    def check_tokenizer(self, path: str | Path) -> None:
        """Check that a directory has the tokenizer and chat template that the service makes prompts with.

        For a trainer that starts, as its first word: with other ids it would train on nonsense. Compares files, so one
        that was saved again may be refused although it means the same. Needs transformers and tokenizers here.

        Raises InvalidInput for another tokenizer, or a directory that is no model.
        """
        self._loop.run(self._client.check_tokenizer(path))

    def status(self) -> ServiceStatus:
        """The service at a glance."""
        return self._loop.run(self._client.status())

    def get_tree(self, tree_id: str) -> TreeRecord:
        """One tree as it is now, finished or growing, with rewards and advantages in force. Raises UnknownTree."""
        return self._loop.run(self._client.get_tree(tree_id))

    def audit(self) -> AuditReport:
        """Check the named invariants on the live store."""
        return self._loop.run(self._client.audit())

    def delete_run(self, run_id: str) -> int:
        """Remove a run that has ended, delivered or not, with its trees, rewards and history; the number of its tasks.

        So can runs be removed that the service cannot go on with. Raises RunBusy for a run that is open or still grows:
        cancel it first. UnknownRun, also when the answer to a first try was lost.
        """
        return self._loop.run(self._client.delete_run(run_id))

    def publish_weights(
        self,
        path: str | Path,
        version: int,
        *,
        pool: str = "",
        digest: str | None = None,
        wait: bool = True,
        timeout_s: float = 600.0,
    ) -> WeightsStatus:
        """Give a pool new weights: all of its replicas, or none.

        Replicas check the directory and have it at hand while they decode. When all that are ready have, the version
        comes into force, each replica loads it, and works again only then. Growing trees do what the `on_update` of
        their run says. Publishing the same again has no effect.

        Args:
            path: Directory of safetensors files, as `treeroll.save_weights` writes it, at the same path on every
                replica's machine. It must not change any more; `weights().in_use` says what may be deleted.
            version: 1 or more, and above any that was in force.
            pool: Name of the model's pool; "" is the only one.
            digest: Of the directory's content, which replicas then check; None: what they read must be the same.
            wait: Until every replica that was ready has loaded the version. Otherwise `weights()` says how far it is.
            timeout_s: How long to wait, seconds. The publication goes on, whoever waits for it.

        Raises:
            WeightsRefused: a replica cannot use it; names replica, file and tensor. Nothing has changed.
            WeightsConflict: the version is there with other content.
            VersionTooOld: the version is not above the one in force.
            PublicationBusy: another version is on its way.
            UnknownPool: the service has no pool of this name.
            InvalidInput: version, path or timeout_s cannot be.
            Unavailable: it has not been loaded everywhere within timeout_s.
        """
        return self._loop.run(
            self._client.publish_weights(path, version, pool=pool, digest=digest, wait=wait, timeout_s=timeout_s)
        )

    def weights(self, pool: str = "") -> WeightsStatus:
        """Which weights a pool has, what is on its way, what each replica holds, and which directories are in use.

        `pool` is a model's name; "" is the only one. Raises UnknownPool.
        """
        return self._loop.run(self._client.weights(pool))

    def drain(self) -> ServiceStatus:
        """Admit no new trees and finish the live ones; replicas go idle. Tasks that wait go on waiting.

        `submit` raises Drained then, and so does `batches()` once it has given all that ended.
        """
        return self._loop.run(self._client.drain())

    def undrain(self) -> ServiceStatus:
        """Take a drain back: waiting tasks are grown, and new ones accepted."""
        return self._loop.run(self._client.undrain())

    def drain_replicas(
        self, *targets: str, within_s: float = DRAIN_S, force: bool = False
    ) -> tuple[list[str], list[str]]:
        """End replicas in order, each named or all of a host; their fleets start others in their place, at once.

        What they run may end there for `within_s` seconds; what is left then goes on elsewhere. Gives the names of the
        replicas that drain, and of those that no fleet starts again.

        Raises InvalidInput for a name that is none, or, unless `force`, if no other replica works for trees that grow.
        """
        return self._loop.run(self._client.drain_replicas(*targets, within_s=within_s, force=force))

    def scale(
        self, replicas: int, *, pool: str = "", fleet: str | None = None, within_s: float = DRAIN_S, force: bool = False
    ) -> int:
        """Have a fleet keep another number of a pool's replicas. Those with the least to do end as in
        `drain_replicas`. Gives how many it had before. `pool` "" is the only one; `fleet` None the only one.

        Raises InvalidInput if it is not clear which fleet; if trees grow, and none is to be left, unless `force`.
        """
        scaled = self._client.scale(replicas, pool=pool, fleet=fleet, within_s=within_s, force=force)
        return self._loop.run(scaled)

    def close(self) -> None:
        """Give back all leases of unfinished iterators and disconnect."""
        if self._loop.usable:
            with contextlib.suppress(TimeoutError):
                self._loop.run(self._client.close(), CLOSE_S)

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
