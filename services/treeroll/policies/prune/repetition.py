"""Whether a text repeats itself: some substring of a given length occurs a given number of times."""

from collections import Counter


def repeats(text: str, chars: int, count: int) -> bool:
    """Whether some `chars`-long substring occurs at least `count` times. Overlapping occurrences count.

    On ordinary text only the cheap test runs: this is asked of every segment of every path.
    """
    if len(text) < chars + count - 1 or not _may_repeat(text, chars, count):
        return False
    return max(Counter(text[i : i + chars] for i in range(len(text) - chars + 1)).values()) >= count


def _may_repeat(text: str, chars: int, count: int) -> bool:
    """False only if no repetition is possible.

    Of `count` occurrences, two are at most (len - chars) // (count - 1) apart. Every occurrence contains one of the
    blocks that the text is cut into, half of `chars` long; so one of these must come again within that distance.
    """
    half = (chars + 1) // 2
    reach = (len(text) - chars) // (count - 1) + half
    for at in range(0, len(text) - half + 1, half):  # noqa: SIM110 - any() takes half as long again
        if text[at : at + half] in text[at + 1 : at + reach]:
            return True
    return False
