"""Text of segments, incrementally: a character whose bytes straddle a boundary belongs to the later segment."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from treeroll.model.encoders import prompt_encoder
from treeroll.model.facts import load_facts

# Enough tokens before a branch to complete a split character and to know whether a space leads.
PRIMING_TOKENS = 8
BROKEN = "\N{REPLACEMENT CHARACTER}"
# How tokenizers with byte fallback (Llama 2, Mistral, Gemma, Phi 3) write the tokens of single bytes.
_BYTE = re.compile("<0x[0-9A-Fa-f]{2}>")


class Detokenizer:
    """The fast tokenizer of a model directory, used for decoding only."""

    def __init__(self, model_dir: Path | str) -> None:
        """InvalidInput if the directory is no model or its tokenizer cannot be used."""
        facts = load_facts(Path(model_dir))
        self.tokenizer: Any = prompt_encoder(facts)
        self._silent = facts.silent_ids
        self.hash = facts.hash

    def open(self, prefix_ids: Sequence[int]) -> "TextStream":
        """A stream for tokens that follow this prefix. It says what one that has taken the whole prefix would."""
        start = max(0, len(prefix_ids) - PRIMING_TOKENS)
        while start > 0 and not self._is_whole(prefix_ids[start]):
            start -= 1
        return TextStream(self.tokenizer, prefix_ids[start:], self._silent)

    def _is_whole(self, token_id: int) -> bool:
        """Whether a token is text by itself, so that what comes before it cannot change what comes behind it."""
        if _BYTE.fullmatch(self.tokenizer.id_to_token(token_id) or ""):
            return False  # a run of such tokens is decoded as one
        text = "" if token_id in self._silent else self.tokenizer.decode([token_id], skip_special_tokens=False)
        return bool(text) and BROKEN not in (text[0], text[-1])


class TextStream:
    """Decodes one branch. `silent` tokens give no text, other special tokens their names, broken bytes U+FFFD."""

    def __init__(self, tokenizer: Any, priming: Sequence[int], silent: frozenset[int] = frozenset()) -> None:
        self._tokenizer = tokenizer
        self._silent = silent
        self._stream: Any = None
        self._withheld: list[int] = []  # tokens whose text has not been said
        self._spoken = False  # since the stream began
        self._restart()
        # Stepped, not given at once: the stream must end up withholding exactly what the running branch withholds.
        self.step(priming)

    def step(self, token_ids: Sequence[int]) -> str:
        """Text that these tokens add; of a character that they only begin, nothing."""
        # One by one: a stream that is given several withholds them all if the last character is incomplete.
        return "".join(map(self._take, token_ids))

    def _take(self, token_id: int) -> str:
        if token_id in self._silent:
            return ""
        self._withheld.append(token_id)
        try:
            text = self._stream.step(self._tokenizer, token_id)
        except Exception:  # the Rust library raises bare Exception
            if not self._spoken:
                raise
            # Byte tokens in a row are one text or none: these are none together with those that were one before. What
            # has been said stays said, so they are read anew, without those.
            withheld = self._withheld
            self._restart()
            return self.step(withheld)
        if not text:
            return ""
        self._withheld, self._spoken = [], True
        return str(text)

    def _restart(self) -> None:
        from tokenizers.decoders import DecodeStream

        self._stream = DecodeStream(skip_special_tokens=False)
        self._withheld, self._spoken = [], False
