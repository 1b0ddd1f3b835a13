"""Who publishes weights, and who ends a run before its time."""

from typing import TYPE_CHECKING

from treeroll.errors import PublicationBusy, UnknownRun, VersionTooOld
from treeroll.pb.v1 import rollout_pb2 as api
from treeroll.simulation.universe.requests import Request
from treeroll.simulation.universe.surroundings import Aborted, refused

if TYPE_CHECKING:
    from treeroll.simulation.universe.universe import Universe

AGAIN_S = 1.0


class Publisher:
    """Publishes one version of a model after the other, each once what became of the last one is known."""

    def __init__(self, universe: "Universe", pool: str, versions: int) -> None:
        self.in_force = 0
        """The highest version that it was told is in force."""
        self._universe, self._pool, self._left, self._version = universe, pool, versions, 0
        self._published = 0
        self._later()

    @property
    def done(self) -> bool:
        """Whether all that it had to publish is settled."""
        return not self._left and not self._version

    def forget(self) -> None:
        """The store may have lost what was in force."""
        self.in_force = 0

    def _later(self) -> None:
        if self._left:
            self._universe.after(self._universe.random.expovariate(0.3), self._next)

    def _next(self) -> None:
        self._left -= 1
        self._published += 1
        self._version = self._published
        self._publish()

    def _publish(self) -> None:
        request = api.PublishWeightsRequest(
            pool=self._pool, version=self._version, path=f"/weights/{self._pool}/{self._version}"
        )
        Request(self._universe, "PublishWeights", request, self._answered)

    def _answered(self, got: object, error: Aborted | None) -> None:
        if error is None:
            self._ask()
        elif refused(error, PublicationBusy):  # one of its own, which an earlier answer said was settled
            self._universe.after(AGAIN_S, self._publish)
        elif refused(error, VersionTooOld):
            self._universe.found("Answered", f"who publishes is told {error}")
        else:
            self._universe.found("Answered", f"who publishes version {self._version} is told {error}")

    def _ask(self) -> None:
        request = api.GetWeightsRequest(pool=self._pool, settled_version=self._version, wait_s=2.0)
        Request(self._universe, "GetWeights", request, self._told)

    def _told(self, status: api.WeightsStatus | None, error: Aborted | None) -> None:
        if status is None:
            self._universe.found("Answered", f"who publishes asks for weights and is told {error}")
            return
        if status.HasField("publication") and status.publication.version == self._version:
            self._universe.after(AGAIN_S, self._ask)
            return
        if status.version < self.in_force and not self._universe.is_usurped:
            told = f"version {status.version} is in force, and {self.in_force} was before"
            self._universe.found("NoAckedLoss", told)
        self.in_force = status.version
        self._universe.note(f"weights {self._version} are settled, {status.version} are in force")
        self._version = 0
        self._later()


class Canceller:
    """Cancels the run at a moment."""

    def __init__(self, universe: "Universe", at: float) -> None:
        self.told = False
        """That it is done."""
        self._universe = universe
        universe.after(at, self._cancel)

    def forget(self) -> None:
        """The store may have lost that it is done."""
        if self.told:
            self.told = False
            self._cancel()

    def _cancel(self) -> None:
        Request(self._universe, "CancelRun", api.CancelRunRequest(run_id=self._universe.spec.run_id), self._answered)

    def _answered(self, got: object, error: Aborted | None) -> None:
        if error is None and not self._universe.succession.untold:
            self.told = True
            self._universe.note("the run is cancelled")
        elif error is None or refused(error, UnknownRun):  # by one who does not know yet what its store forgot
            self._universe.after(AGAIN_S, self._cancel)
        else:
            self._universe.found("Answered", f"who cancels is told {error}")
