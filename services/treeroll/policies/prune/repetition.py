"""Whether a text repeats itself: some substring of a given length occurs a given number of times."""

from collections import Counter


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
    """False only if no repetition is possible. Short blocks are fewer, long ones say more.

    Of `count` occurrences, two are at most (len - chars) // (count - 1) apart. Every occurrence contains one of the
    blocks that begin `chars - block + 1` apart; so one of these must come again within that distance.
    """
    reach = (len(text) - chars) // (count - 1) + block
    for at in range(0, len(text) - block + 1, chars - block + 1):
        if text[at : at + block] in text[at + 1 : at + reach]:
            return True
    return False
