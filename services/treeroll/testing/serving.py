"""A grant on a replica of a simulated world."""

from collections.abc import Callable
from dataclasses import dataclass

from treeroll.core.effects import StartBranch
from treeroll.generator.delimiter import DelimiterScan
from treeroll.testing.language import text_of


@dataclass
class Serving:
    """What has been generated and reported of a grant."""

    start: StartBranch
    total: int
    boundary: int = 0
    reported: int = 0
    stopped: bool = False

    def delimiter_test(self) -> Callable[[int], bool]:
        """Whether a token, given in order from the start of a segment, completes a delimiter that ends it."""
        delimiter = self.start.delimiter
        if delimiter is None or self.boundary + 1 == len(self.start.boundaries):
            return lambda token: False
        return DelimiterScan(delimiter.texts, delimiter.token_ids, text_of).ends_with
