"""Whether a text repeats itself: some substring of a given length occurs a given number of times."""

import re
from collections import Counter
from functools import lru_cache


def repeats(text: str, chars: int, count: int) -> bool:
    """Whether some `chars`-long substring occurs at least `count` times. Overlapping occurrences count.

    Linear in the text, and on ordinary prose mostly the cheap test alone: it runs on every segment of every path.
    """
    if len(text) < chars + count - 1 or not _may_repeat(text, chars, count):
        return False
    return _most_frequent([text[i : i + chars] for i in range(len(text) - chars + 1)]) >= count


def _may_repeat(text: str, chars: int, count: int) -> bool:
    """False only if no repetition is possible; looks at word starts and long words instead of at every position.

    Either the first half of a repeated substring has a blank, and then what follows that blank, as long as the other
    half, occurs as often; or it has none, and then that half occurs as often inside words.
    """
    head = chars // 2
    if head == 0:
        return True
    long_words = [word for word in text.split() if len(word) >= head]
    inside = [word[i : i + head] for word in long_words for i in range(len(word) - head + 1)]
    return _most_frequent(inside) >= count or _most_frequent(_after_blank(chars - head).findall(text)) >= count


def _most_frequent(items: list[str]) -> int:
    return max(Counter(items).values(), default=0)


@lru_cache(maxsize=64)
def _after_blank(chars: int) -> re.Pattern[str]:
    return re.compile(rf"\s(?=(.{{{chars}}}))", re.DOTALL)
