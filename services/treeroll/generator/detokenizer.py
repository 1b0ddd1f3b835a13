"""Text of segments, incrementally: a character whose bytes straddle a boundary belongs to the later segment."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from treeroll.errors import InvalidInput
from treeroll.tokenizer import hash_of

# Enough tokens before a branch to complete a split character and to know whether a space leads.
PRIMING_TOKENS = 8


class Detokenizer:
    """The fast tokenizer of a model directory, used for decoding only."""

    def __init__(self, model_dir: Path | str) -> None:
        from tokenizers import Tokenizer

        path = Path(model_dir) / "tokenizer.json"
        try:
            self.tokenizer: Any = Tokenizer.from_file(str(path))
        except Exception as error:  # the Rust library raises bare Exception
            raise InvalidInput(f"{path} is not a tokenizer: {error}") from None
        self.hash = hash_of(path.parent)

    def open(self, prefix_ids: Sequence[int]) -> "TextStream":
        """A stream for tokens that follow this prefix."""
        return TextStream(self.tokenizer, list(prefix_ids[-PRIMING_TOKENS:]))


class TextStream:
    """Decodes one branch. Special tokens give no text."""

    def __init__(self, tokenizer: Any, priming: list[int]) -> None:
        from tokenizers.decoders import DecodeStream

        self._tokenizer = tokenizer
        self._stream: Any = DecodeStream(skip_special_tokens=True)
        # Stepped, not given at once: the stream must end up withholding exactly what the running branch withholds.
        self.step(priming)

    def step(self, token_ids: Sequence[int]) -> str:
        """Text that these tokens add; of a character that they only begin, nothing."""
        # One by one: a stream that is given several withholds them all if the last character is incomplete.
        return "".join(self._stream.step(self._tokenizer, token_id) or "" for token_id in token_ids)
