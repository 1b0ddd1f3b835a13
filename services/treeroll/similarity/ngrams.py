"""Texts as sets of their character n-grams: no model, no download."""

import struct
from typing import ClassVar, Final

from treeroll.similarity.embedder import Features

GRAM: Final = 3
# A power of two. Of the 750 different runs in a thousand characters chance would lose 29 % at 1024 places, 4 % at 8192.
PLACES: Final = 8192
# Of a character's number its last ten bits count: characters of one script rarely differ by a multiple of 1024.
CHARACTER: Final = 1023
# One factor for each character of a run: odd, without a pattern, and small enough that sums stay below 2^32.
FACTORS: Final = (683_069, 424_577, 921_637)
# The bits of a sum that say the place: those below depend on the last bits of characters alone.
SHIFT: Final = 10


class HashedNgrams:
    """Which runs of three characters occur in the text, case and white space levelled.

    Runs are hashed to 8192 places, and those that meet there are one. A text of fewer characters is filled up to a run
    with zeros. Alike are texts that share wording, whatever they mean.
    """

    name: ClassVar[str] = "ngrams"
    summary: ClassVar[str] = "sets of character trigrams, hashed: texts are alike that share wording"

    def embed(self, text: str) -> Features:
        """Places of the runs."""
        levelled = " ".join(text.lower().split()).ljust(GRAM, "\0")
        marks = bytearray(b"0" * PLACES)
        for place in _places(levelled):
            marks[place] = 0x31  # "1"
        return int(marks, 2)


def _places(text: str) -> tuple[int, ...]:
    """Where each run of the text is hashed to, by sums of characters times factors.

    All runs at once, because a loop over them in Python takes three times as long: the text is one number of 32 bits
    per character, so that shifted copies of it, times a factor each, add up to all sums, none of which carries over.
    """
    runs = len(text) - GRAM + 1
    characters = int.from_bytes(text.encode("utf-32-le", "surrogatepass"), "little") & _lanes(CHARACTER, len(text))
    sums = sum((characters >> 32 * at) * factor for at, factor in enumerate(FACTORS))
    places = sums >> SHIFT & _lanes(PLACES - 1, runs)
    return struct.unpack(f"<{runs}I", places.to_bytes(4 * runs, "little"))


def _lanes(value: int, count: int) -> int:
    """The value, `count` times, in 32 bits each."""
    return int.from_bytes(value.to_bytes(4, "little") * count, "little")
