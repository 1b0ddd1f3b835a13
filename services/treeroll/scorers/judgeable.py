"""Answers that a computer algebra system would not get done with: found by their looks, before it is asked.

The limits leave room for every answer of the usual benchmarks. What they miss is left to the worker's clock.
"""

import math
import re

MAX_CHARS = 1000
MAX_DEPTH = 10  # of brackets: reading them takes time that grows faster than their depth
MAX_POWERS = 5  # standing on each other
MAX_DIGITS = 100_000  # of a power of two numbers
MAX_FACTORIAL = 10_000
MAX_TWICE = 7  # n of (n!)!, and of a power to n!

_STYLE = re.compile(r"\\(?:left|right|text|mathrm|mathbf)(?![A-Za-z])|\\[,;:! ]")
_COMMAND = re.compile(r"\\[A-Za-z]+")
_GROUPING = re.compile(r"(?<=\d)\{?,\}?(?=\d{3})|[\s{}()\[\]]")
_POWERS = re.compile(r"[\w.]+(?:\^[-+]?[\w.]+)+")
_FACTORIAL = re.compile(r"(\^?)(\d+)(!+)")


def why_not_judgeable(answer: str) -> str | None:
    """What is wrong with an answer, in words; None if it may be computed with."""
    if len(answer) > MAX_CHARS:
        return f"it has {len(answer)} characters, more than {MAX_CHARS}"
    if _depth(answer) > MAX_DEPTH:
        return f"its brackets are nested more than {MAX_DEPTH} deep"
    bare = _GROUPING.sub("", _COMMAND.sub(";", _STYLE.sub("", answer.replace("**", "^"))))
    if any(_is_tower(chain.split("^")) for chain in _POWERS.findall(bare)):
        return "its powers are too high"
    if any(_is_huge(*factorial) for factorial in _FACTORIAL.findall(bare)):
        return "its factorials are too large"
    return None


def _depth(text: str) -> int:
    deepest = depth = 0
    for character in text:
        depth += (character in "([{") - (character in ")]}")
        deepest = max(deepest, depth)
    return deepest


def _is_tower(chain: list[str]) -> bool:
    """The tower of base and exponents, from the left."""
    if len(chain) > MAX_POWERS:
        return True
    exponent = 1.0
    for power in reversed(chain[1:]):
        number = _number(power)
        if number is None:
            return False  # a variable: nothing is multiplied out
        if exponent * math.log10(max(number, 1.0)) > 300:
            return True
        exponent = number**exponent
    base = _number(chain[0])
    # The base may be the end of a sum in brackets, or below 1: its own digits are the least there are.
    return base is not None and exponent * max(math.log10(max(base, 1.0)), 1.0) > MAX_DIGITS


def _number(text: str) -> float | None:
    digits = re.fullmatch(r"[-+]?(\d+(?:\.\d*)?)", text)
    return float(digits[1]) if digits and len(digits[1]) <= 300 else None


def _is_huge(power: str, digits: str, marks: str) -> bool:
    number = int(digits) if len(digits) <= 9 else math.inf
    return number > (MAX_TWICE if power or len(marks) > 1 else MAX_FACTORIAL)
