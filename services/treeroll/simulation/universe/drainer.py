"""Who has the service drain, and takes that back."""

from typing import TYPE_CHECKING

from google.protobuf.message import Message

from treeroll.pb.v1 import rollout_pb2 as api
from treeroll.simulation.universe.requests import LATE_S, Request
from treeroll.simulation.universe.surroundings import Aborted

if TYPE_CHECKING:
    from treeroll.core.model.state import State
    from treeroll.simulation.universe.universe import Universe


class Drainer:
    """An operator: drains once, and undrains when none of the calls for it can be on its way any more, or one that is
    late would have the service drain for ever. Coordinators forget a drain as they die, so nothing is promised of one
    but that no tree starts where it is in force."""

    def __init__(self, universe: "Universe", at: float) -> None:
        self.done = False
        """Whether it was told that nothing drains any more."""
        self._universe = universe
        self._seen: State | None = None
        self._growing: set[str] = set()
        universe.after(at, self._ask, "Drain", api.DrainRequest())

    def _ask(self, method: str, message: Message) -> None:
        Request(self._universe, method, message, lambda got, error: self._answered(method, error))

    def _answered(self, method: str, error: Aborted | None) -> None:
        universe = self._universe
        if error is not None:
            universe.found("Answered", f"who asks to {method} is told {error}")
        elif method == "Drain":
            universe.note("the service drains")
            wait_s = LATE_S + universe.random.uniform(1.0, 10.0)
            universe.after(wait_s, self._ask, "Undrain", api.UndrainRequest())
        else:
            universe.note("the service drains no more")
            self.done = True

    def ticked(self, state: "State") -> None:
        """Where a drain is in force, the trees that grow are some of those that grew before."""
        if not state.draining:
            self._seen = None
            return
        growing = set(state.trees)
        if state is self._seen and (new := growing - self._growing):
            self._universe.found("Drained", f"{', '.join(sorted(new))} begin to grow while the service drains")
        self._seen, self._growing = state, growing
