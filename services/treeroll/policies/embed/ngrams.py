"""Texts as counts of their character n-grams: no model, no download."""

from typing import ClassVar
from zlib import crc32

GRAM = 3
DIMENSIONS = 1024


class HashedNgrams:
    """How often each run of three characters occurs in the text, case and white space levelled.

    Runs are hashed to 1024 places, and those that meet there are counted together. A text of fewer characters is one
    run. Alike are texts that share wording, whatever they mean.
    """

    name: ClassVar[str] = "ngrams"
    summary: ClassVar[str] = "counts of character trigrams, hashed: texts are alike that share wording"

    def embed(self, text: str) -> tuple[float, ...]:
        """DIMENSIONS counts."""
        levelled = " ".join(text.lower().split())
        counts = [0.0] * DIMENSIONS
        for at in range(max(1, len(levelled) - GRAM + 1)):
            counts[crc32(levelled[at : at + GRAM].encode("utf-8", "replace")) % DIMENSIONS] += 1
        return tuple(counts)
