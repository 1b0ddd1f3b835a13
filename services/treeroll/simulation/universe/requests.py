"""Unary calls of clients, which are repeated until they are answered."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import grpc
from google.protobuf.message import Message

from treeroll.simulation.universe.surroundings import Aborted, Call

if TYPE_CHECKING:
    from treeroll.simulation.universe.universe import Universe

AGAIN_S, TIMEOUT_S, LATE_S = 0.5, 4.0, 6.0
REPEATED = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.ABORTED)

Answered = Callable[[Any, Aborted | None], None]


class Request:
    """What is on its way may still act later than its answer, or never."""

    def __init__(self, universe: "Universe", method: str, message: Message, answered: Answered) -> None:
        self.over = self._is_forsaken = False
        self._universe, self._method, self._message, self._answered = universe, method, message, answered
        self._tries = 0
        self._send()

    def forsake(self) -> None:
        """Its client begins anew, for the service has lost what it had answered for: nothing comes of it any more."""
        self.over = self._is_forsaken = True

    def _send(self) -> None:
        if self.over:
            return
        universe, faults = self._universe, self._universe.faults
        self._tries += 1
        universe.after(TIMEOUT_S, self._again, self._tries)
        if universe.happens(faults.requests_lost):
            universe.note(f"a request is lost: {self._method}")
        else:
            late = LATE_S if universe.happens(faults.late) else 0.0
            universe.after(late + 0.02 * universe.random.random(), self._arrive, universe.events.now)

    def _again(self, tried: int) -> None:
        if tried == self._tries:
            self._send()

    def _arrive(self, sent_at: float) -> None:
        lost_at = self._universe.store.lost_at
        if self._is_forsaken or (lost_at is not None and sent_at < lost_at):
            return  # clients begin anew when they are told: nobody could tell what is from before from what is not
        life = self._universe.succession.called()
        if life is not None and life.serves:
            handler = getattr(life.api, self._method)
            life.ask(lambda: handler(self._message, Call()), self._reply)
        # Otherwise nobody answers, and it is sent again.

    def _reply(self, got: Any, error: Aborted | None) -> None:
        universe = self._universe
        if universe.happens(universe.faults.replies_lost):
            universe.note(f"a reply is lost: {self._method}")
        else:
            universe.after(0.02 * universe.random.random(), self._settle, got, error, universe.events.now)

    def _settle(self, got: Any, error: Aborted | None, said_at: float) -> None:
        if self.over:
            return
        lost_at = self._universe.store.lost_at
        if lost_at is not None and said_at < lost_at:
            return  # the store forgot before the answer came: what it says is not so any more
        if error is not None and error.code in REPEATED:
            self._tries += 1
            self._universe.after(AGAIN_S, self._send)
            return
        self.over = True
        self._answered(got, error)
