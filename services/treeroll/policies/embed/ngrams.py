"""Texts as counts of their character n-grams: no model, no download."""

from collections import Counter
from typing import ClassVar
from zlib import crc32

from treeroll.policies.embed.base import Vector

GRAM = 3
DIMENSIONS = 1024


class HashedNgrams:
    """How often each run of three characters occurs in the text, case and white space levelled.

    Runs are hashed to 1024 places, and those that meet there are counted together. A text of fewer characters is one
    run. Alike are texts that share wording, whatever they mean.
    """

    name: ClassVar[str] = "ngrams"
    summary: ClassVar[str] = "counts of character trigrams, hashed: texts are alike that share wording"

    def embed(self, text: str) -> Vector:
        """Counts by hash, 0..DIMENSIONS - 1."""
        levelled = " ".join(text.lower().split())
        grams = (levelled[at : at + GRAM] for at in range(max(1, len(levelled) - GRAM + 1)))
        return Counter(crc32(gram.encode("utf-8", "replace")) % DIMENSIONS for gram in grams)
