"""What the memory of an allocator, a route or a predictor may offer, so that it outlasts the service."""

from collections.abc import Mapping
from typing import Any, Protocol, runtime_checkable

Parts = Mapping[str, Any]
"""Name -> what JSON can hold. A part that comes again replaces the one before it."""


@runtime_checkable
class Lasting(Protocol):
    """A memory that a service which starts goes on with. One without these methods begins anew then."""

    def changes(self) -> Parts:
        """The parts that are other ones since this was last asked, or since it was opened or restored. Asked after
        every question and every lesson, so that few parts should change at once."""
        ...

    def restore(self, parts: Parts) -> None:
        """Be, right after it was opened, what another one was that told all of these changes: the latest of each."""
        ...
