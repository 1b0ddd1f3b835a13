"""A replica of another model than its pool's: the first that comes when a coordinator has taken over from another."""

from typing import TYPE_CHECKING

import grpc

from treeroll.simulation.universe.virtual_server import Connection, VirtualServer

if TYPE_CHECKING:
    from treeroll.simulation.universe.universe import Universe

NAME = "odd"


class Usurper(VirtualServer):
    """Goes when it is refused, and comes again. Where it is let in, for nothing needs the pool's own model, it works as
    any other does, and those are refused."""

    digest = "of another model"

    def __init__(self, universe: "Universe", pool: str) -> None:
        self._here = self.alive = False
        name = f"{NAME}-{pool}"
        universe.pool_of[name] = pool
        super().__init__(universe, name)

    def start(self) -> None:
        """Not before it is told to come."""
        if self._here and not self.alive:
            super().start()

    def come(self) -> None:
        """If its pool is of a model."""
        if not self._here and self._pool in self._universe.store._models:
            self._here = True
            self.start()

    def die(self) -> None:
        """Like others, or for good if it was never let in."""
        self._here = self._universe.is_usurped
        super().die()

    def _judge(self, call: Connection, code: grpc.StatusCode, details: str) -> None:
        if code is not grpc.StatusCode.INVALID_ARGUMENT or self._universe.is_usurped:
            super()._judge(call, code, details)
            return
        self._universe.note(f"{self.name} is told {code.name}: {details}")
        self.die()
