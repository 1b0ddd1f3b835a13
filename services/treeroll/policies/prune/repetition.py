"""Whether a text repeats itself: some substring of a given length occurs a given number of times."""

from collections import Counter
from functools import lru_cache

# Places in longer texts are worked out each time: they are many, and such texts are rare.
LONGEST_KEPT = 2048


def repeats(text: str, chars: int, count: int) -> bool:
    """Whether some `chars`-long substring occurs at least `count` times. Overlapping occurrences count.

    On ordinary text only the cheapest test runs: this is asked of every segment of every path.
    """
    if len(text) < chars + count - 1 or not _may_repeat(text, chars, count, max(1, chars // 4)):
        return False
    if not _may_repeat(text, chars, count, max(1, chars // 2)):
        return False
    return max(Counter(text[i : i + chars] for i in range(len(text) - chars + 1)).values()) >= count


def _may_repeat(text: str, chars: int, count: int, block: int) -> bool:
    """False only if no repetition is possible. Short blocks are fewer, long ones say more."""
    places = _kept_places if len(text) <= LONGEST_KEPT else _places
    for part, around in places(len(text), chars, count, block):  # noqa: SIM110  # a generator takes longer
        if text[part] in text[around]:
            return True
    return False


def _places(length: int, chars: int, count: int, block: int) -> list[tuple[slice, slice]]:
    """Blocks of a text of so many characters of which one must come again if it repeats itself, and where each would.

    Of `count` occurrences, two are at most (length - chars) // (count - 1) apart. Every occurrence contains one of the
    blocks that begin `chars - block + 1` apart; so one of these must come again within that distance.
    """
    reach = (length - chars) // (count - 1) + block
    starts = range(0, length - block + 1, chars - block + 1)
    return [(slice(at, at + block), slice(at + 1, at + reach)) for at in starts]


_kept_places = lru_cache(maxsize=1024)(_places)
