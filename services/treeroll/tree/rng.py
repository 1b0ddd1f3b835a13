"""Keyed randomness: a draw is a pure function of a seed and a key, so the order of events cannot change it."""

import math
from collections.abc import Sequence
from hashlib import blake2b
from typing import TypeVar

T = TypeVar("T")
Key = int | str


def hash64(*parts: Key) -> int:
    """Unsigned 64-bit hash of the parts. Parts are length-framed: ("a", "b") and ("ab",) differ."""
    framed = b""
    for part in parts:
        raw = str(part).encode()
        framed += len(raw).to_bytes(4, "little") + raw
    return int.from_bytes(blake2b(framed, digest_size=8).digest(), "little")


def uniform(seed: int, *key: Key) -> float:
    """Uniform draw in [0, 1) with 53 random bits."""
    return (hash64(seed, *key) >> 11) * 2.0**-53


def randint(low: int, high: int, seed: int, *key: Key) -> int:
    """Uniform integer in [low, high], both ends included."""
    return low + int(uniform(seed, *key) * (high - low + 1))


def gumbel(seed: int, *key: Key) -> float:
    """Standard Gumbel draw; the maximum over items of log(weight) + gumbel picks one with probability ~ weight."""
    return -math.log(-math.log(max(uniform(seed, *key), 2.0**-54)))


def student_t(freedom: float, seed: int, *key: Key) -> float:
    """Draw from Student's t distribution with so many degrees of freedom, above 0: exact (Bailey 1994)."""
    u, v = max(uniform(seed, *key, "radius"), 2.0**-54), uniform(seed, *key, "angle")
    # u ** (-2 / freedom) - 1, which for many degrees is a small difference of numbers near 1.
    return math.sqrt(freedom * math.expm1(-2 / freedom * math.log(u))) * math.cos(2 * math.pi * v)


def shuffled(items: Sequence[T], seed: int, *key: Key) -> list[T]:
    """The items in a random order (sorted by one draw each)."""
    order = sorted(range(len(items)), key=lambda i: (uniform(seed, *key, i), i))
    return [items[i] for i in order]
