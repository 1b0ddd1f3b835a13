"""Finds the token that completes a stop string. Pure: no clock, no I/O."""

from collections.abc import Callable, Sequence


class StopScan:
    """Reads a path's tokens from some point on. Where it finds one depends on the path's text alone."""

    def __init__(self, stops: Sequence[str], decode: Callable[[int], str], before: str, min_tokens: int) -> None:
        """`decode` gives the text that a token adds; it is called once for each token, in order.

        `before` is the end of the completion's text so far. The first `min_tokens` tokens complete nothing.
        """
        self._stops = tuple(stops)
        self._decode = decode
        self._overlap = max(map(len, self._stops)) - 1
        self._tail = self._end_of(before)
        self._too_early = min_tokens

    def find(self, token_ids: Sequence[int]) -> int | None:
        """Take the next tokens: how many there are up to the first that completes a stop string; None if none does."""
        for count, token_id in enumerate(token_ids, 1):
            piece = self._decode(token_id)
            text, known = self._tail + piece, len(self._tail)
            self._tail = self._end_of(text)
            self._too_early -= 1
            if piece and self._too_early < 0 and self._ends_in(text, known):
                return count
        return None

    def _ends_in(self, text: str, known: int) -> bool:
        """Whether a stop string ends behind the first `known` characters."""
        return any(text.find(stop, max(0, known - len(stop) + 1)) >= 0 for stop in self._stops)

    def _end_of(self, text: str) -> str:
        return text[-self._overlap :] if self._overlap else ""
