"""Divides one branch's tokens into segments as the coordinator's order says. Pure: no clock, no I/O."""

from array import array
from collections.abc import Sequence
from dataclasses import dataclass

from treeroll.generator.delimiter import DelimiterScan
from treeroll.generator.engine import Delta, VersionSpan, first_tokens


@dataclass(slots=True)
class SegmentTokens:
    """Tokens of one segment."""

    tokens: int
    token_ids: "array[int]"
    """Token ids, int32."""
    logprobs: "array[float]"
    """Log probabilities, float32, one per token."""
    entropies: "array[float]"
    """Entropies, float32, one per token; empty unless asked for."""
    spans: list[VersionSpan]
    """Which weights made its tokens, in order, covering the segment."""
    at_boundary: bool
    """False for a remainder that ended between boundaries."""
    text: str | None = None
    """None: nobody has decoded it yet."""


class Segmenter:
    """Gathers deltas and gives back segments.

    Boundaries are absolute total lengths, ascending. `limit` is how many segments may be made: a branch that reaches
    the boundary of its last allowed segment is out of credit, and whatever it has beyond is dropped.
    """

    def __init__(self, prefix_tokens: int, boundaries: Sequence[int], limit: int, entropies: bool = False) -> None:
        self._starts = prefix_tokens  # total length where the next segment starts
        self._boundaries = boundaries
        self._entropies_wanted = entropies
        self._ids = array("i")
        self._logprobs = array("f")
        self._entropies = array("f")
        self._spans: list[VersionSpan] = []
        self.limit = limit
        self.segments = 0
        """Segments made so far."""

    @property
    def pending(self) -> int:
        """Tokens past the last segment."""
        return len(self._ids)

    @property
    def exhausted(self) -> bool:
        """True when no further segment is allowed, and this was not the last boundary anyway."""
        return self.segments >= self.limit and not self.complete

    @property
    def complete(self) -> bool:
        """True when the last boundary was reached."""
        return self.segments >= len(self._boundaries)

    def feed(self, delta: Delta) -> list[SegmentTokens]:
        """Take new tokens; return the segments that they finish, mostly none or one."""
        if delta.token_ids:
            self._ids.extend(delta.token_ids)
            self._logprobs.extend(delta.logprobs)
            if self._entropies_wanted and delta.entropies is not None:
                self._entropies.extend(delta.entropies)
            self._extend_spans(delta.spans)
        segments = []
        while not self.complete and self.segments < self.limit:
            wanted = self._next_end()
            if wanted is None:
                break
            segments.append(self._take(wanted, at_boundary=True))
        return segments

    def remainder(self) -> SegmentTokens | None:
        """The tokens after the last boundary as a short last segment; None if there are none or none is allowed."""
        if not self._ids or self.exhausted or self.complete:
            return None
        return self._take(len(self._ids), at_boundary=False)

    def _next_end(self) -> int | None:
        """Tokens of the next segment; None while its end is not here."""
        wanted = self._boundaries[self.segments] - self._starts
        return wanted if wanted <= len(self._ids) else None

    def _take(self, tokens: int, at_boundary: bool) -> SegmentTokens:
        segment = SegmentTokens(
            tokens=tokens,
            token_ids=self._ids[:tokens],
            logprobs=self._logprobs[:tokens],
            entropies=self._entropies[:tokens],
            spans=self._take_spans(tokens),
            at_boundary=at_boundary,
        )
        del self._ids[:tokens], self._logprobs[:tokens], self._entropies[:tokens]
        self._starts += tokens
        self.segments += 1
        return segment

    def _extend_spans(self, spans: Sequence[VersionSpan]) -> None:
        for span in spans:
            last = self._spans[-1] if self._spans else None
            if last is not None and (last.version, last.kv_mixed) == (span.version, span.kv_mixed):
                self._spans[-1] = last._replace(tokens=last.tokens + span.tokens)
            else:
                self._spans.append(span)

    def _take_spans(self, tokens: int) -> list[VersionSpan]:
        taken = first_tokens(self._spans, tokens)
        *whole, last = taken
        del self._spans[: len(whole)]
        left = self._spans[0].tokens - last.tokens
        self._spans[:1] = [last._replace(tokens=left)] if left else []
        return taken


class DelimitedSegmenter(Segmenter):
    """Ends segments with the token that completes a delimiter.

    `boundaries` are the longest total length, once for each segment that the path may still have; the last of them has
    no other end. Text comes with each segment, because it has to be decoded to find its end.
    """

    def __init__(
        self, prefix_tokens: int, boundaries: Sequence[int], limit: int, scan: DelimiterScan, entropies: bool = False
    ) -> None:
        super().__init__(prefix_tokens, boundaries, limit, entropies)
        self._scan = scan
        self._scanned = 0

    @property
    def complete(self) -> bool:
        """True when the longest total was reached."""
        return self._starts >= self._boundaries[-1]

    def _next_end(self) -> int | None:
        longest = self._boundaries[-1] - self._starts
        may_fork = self.segments + 1 < len(self._boundaries)
        for token in self._ids[self._scanned : longest]:
            self._scanned += 1
            if (self._scan.ends_with(token) and may_fork) or self._scanned == longest:
                return self._scanned
        return None

    def _take(self, tokens: int, at_boundary: bool) -> SegmentTokens:
        segment = super()._take(tokens, at_boundary)
        segment.text = self._scan.take_text()
        self._scanned = 0
        return segment
