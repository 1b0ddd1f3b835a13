"""Which weights an engine uses, which it has at hand, and what a change means for requests that live through it."""

import asyncio
import logging
from collections.abc import Callable, Iterable
from itertools import pairwise

from treeroll.errors import InvalidInput
from treeroll.generator.engine import VersionSpan
from treeroll.weights.check import CheckedWeights, check_weights
from treeroll.weights.layout import Layout

log = logging.getLogger(__name__)


class WeightVersions:
    """The book of one engine's weights; the engine does the loading."""

    def __init__(self, layout: Callable[[], Layout | None]) -> None:
        """`layout` reads what weights must be; it is called in a thread."""
        self.version = 0
        self.digest = ""
        self.updating = asyncio.Lock()
        """Held while weights change, and while a request gets its salt: that never names others than it begins with."""
        self._layout = layout
        self._staged: tuple[int, CheckedWeights] | None = None
        self._calls = 0
        self._recomputed: set[int] = set()  # versions that were taken into use with all KV computed again

    async def stage(self, version: int, path: str, digest: str) -> str:
        """See Engine.stage_weights."""
        if version <= self.version:
            raise InvalidInput(f"weight version {version} is not above {self.version}, which is in use")
        self._calls += 1
        call, self._staged = self._calls, None
        checked = await asyncio.to_thread(lambda: check_weights(path, self._layout(), digest))
        if call != self._calls:
            raise InvalidInput(f"weight version {version} is not staged: a later one took its place before it was read")
        self._staged = version, checked
        return checked.digest

    async def staged(self, version: int) -> CheckedWeights:
        """The staged directory, as it was checked. InvalidInput if this version is not staged, or has changed since."""
        if self._staged is None or self._staged[0] != version:
            raise InvalidInput(f"weight version {version} is not staged here; {self.version} is in use")
        checked = self._staged[1]
        await asyncio.to_thread(checked.ensure_unchanged)
        return checked

    def take(self, version: int, checked: CheckedWeights, recomputed: bool) -> None:
        """They are in use from here on."""
        log.info("weights %s are in use as version %d, digest %s", checked.directory, version, checked.digest)
        self.version, self.digest = version, checked.digest
        if self._staged is not None and self._staged[0] == version:
            self._staged = None
        if recomputed:
            self._recomputed.add(version)

    def salt(self, prefix: str) -> str:
        """What sets the KV of a request that begins now apart."""
        return f"{prefix}w{self.version}"

    def span(self, tokens: int, *, began: int, version: int | None = None) -> VersionSpan:
        """Tokens that `version` (the one in use) made for a request that began with version `began`.

        Whoever lived through a change reads KV of before it, until a change that had all KV computed again.
        """
        if version is None:
            version = self.version
        return VersionSpan(version, tokens, version != began and version not in self._recomputed)

    def spans(self, starts: Iterable[tuple[int, int]], first: int, end: int, began: int) -> list[VersionSpan]:
        """Spans of a request's tokens [first, end), from (version, its first token) of each of its versions."""
        spans = []
        for (version, start), (_, stop) in pairwise([*starts, (0, end)]):
            tokens = min(stop, end) - max(start, first)
            if tokens > 0:
                spans.append(self.span(tokens, began=began, version=version))
        return spans
