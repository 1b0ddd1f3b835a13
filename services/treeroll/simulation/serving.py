"""A grant on a replica of a simulated world."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from treeroll.core.model.events import EndKind
from treeroll.generator.delimiter import DelimiterScan
from treeroll.policy.base import Delimiter
from treeroll.simulation.language import EOS, text_of


class Order(Protocol):
    """What an engine has to know of a branch that it starts, as `StartBranch` says it."""

    @property
    def grant(self) -> int: ...
    @property
    def tree_id(self) -> str: ...
    @property
    def boundaries(self) -> Sequence[int]: ...
    @property
    def hold(self) -> bool: ...
    @property
    def seed(self) -> int: ...
    @property
    def cut_from(self) -> int: ...
    @property
    def delimiter(self) -> Delimiter | None: ...


@dataclass
class Serving:
    """What has been generated and reported of a grant."""

    start: Order
    total: int
    tail: str = ""  # the end of the completion before it
    boundary: int = 0
    stopped: bool = False
    ahead: bool = False  # as far as it may be of what its coordinator has answered

    def delimiter_test(self) -> Callable[[int], bool]:
        """Whether a token, given in order from the start of a segment, completes a delimiter that ends it."""
        delimiter = self.start.delimiter
        if delimiter is None or self.boundary + 1 == len(self.start.boundaries):
            return lambda token: False
        return DelimiterScan(delimiter.texts, delimiter.token_ids, text_of).ends_with

    def end(self, token: int, draw: Callable[[], float]) -> EndKind | None:
        """How the branch ends after the segment whose last token this is; None if it goes on."""
        if token == EOS:
            return EndKind.EOS
        if self.total == self.start.boundaries[-1]:
            return EndKind.LENGTH
        if self.start.hold:
            return EndKind.HOLD
        # A slow coordinator: now and then the credit is used up.
        return EndKind.CREDIT if self.ahead or draw() < 0.05 else None
