"""Finds the token that completes a delimiter. Pure: no clock, no I/O."""

from collections.abc import Callable, Sequence


class DelimiterScan:
    """Reads one branch token by token and says where segments end; whoever asks says where the next one begins.

    What it finds depends on the tokens of the segment and, for a character that the segment before only began, of that:
    never on how an engine handed them over.
    """

    def __init__(self, texts: Sequence[str], token_ids: Sequence[int], decode: Callable[[int], str]) -> None:
        """`decode` gives the text that a token adds; it is called once for each token, in order."""
        self._texts = tuple(texts)
        self._token_ids = frozenset(token_ids)
        self._decode = decode
        self._overlap = max(map(len, self._texts), default=1) - 1
        self._text = ""

    def ends_with(self, token: int) -> bool:
        """Take the segment's next token: whether it completes a delimiter."""
        piece = self._decode(token)
        unseen = max(0, len(self._text) - self._overlap)
        self._text += piece
        return token in self._token_ids or (piece != "" and self._has_text(unseen))

    def take_text(self) -> str:
        """Text of the segment, which ends here."""
        text, self._text = self._text, ""
        return text

    def _has_text(self, start: int) -> bool:
        """Whether a delimiter stands at `start` or later with other than white space before it."""
        for text in self._texts:
            # The last one has most before it.
            at = self._text.rfind(text, start)
            if at > 0 and not self._text[:at].isspace():
                return True
        return False
