r"""Answers as people, keyboards and programs write them, as LaTeX that math-verify reads as it was meant.

What it does not know it ignores, or takes for something else: "1 234" is 235 to it, and "1.5e3" is 4.5 times Euler's
number.
"""

import re
import unicodedata
from collections.abc import Callable
from decimal import Decimal

_CHARACTERS = str.maketrans(
    {
        **{chr(code): chr(code - 0xFEE0) for code in range(0xFF01, 0xFF5F)},  # full width
        **dict.fromkeys("\u2010\u2011\u2212\ufe63", "-"),
        **dict.fromkeys("\u00a0\u2009\u202f\u3000", " "),
        **dict.fromkeys("\u200b\u2060\ufeff€£¥₹₩¢", ""),
        "\u066b": ".",
        "\u066c": ",",
        "·": r"\cdot ",
        "⋅": r"\cdot ",
        "÷": "/",
        "\u2044": "/",
        "∞": r"\infty ",
        "°": r"^\circ ",
    }
)
_SUPERSCRIPTS = dict(zip("⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻", "0123456789+-", strict=True))
_NAMES = "arcsin|arccos|arctan|sinh|cosh|tanh|sin|cos|tan|cot|log|ln|exp|pi"
_WORDS = re.compile(r"(?:yes|no|true|false)", re.IGNORECASE)
_NUMBER = r"(?:\d+(?:\.\d*)?|\.\d+)"
_FACTOR, _EXPONENT = rf"(?<![\w.^{{\\])({_NUMBER})", r"\{\s*([-+]?\d{1,2})\s*\}"
Replacement = str | Callable[[re.Match[str]], str]
# In this order.
_RULES: tuple[tuple[re.Pattern[str], Replacement], ...] = tuple(
    (re.compile(pattern), replacement)
    for pattern, replacement in (
        (r"^(?:\s|\*\*)+|(?:\\[,;:! ]|\s|\*\*|(?<=[\w}])\.)+$", ""),
        (r"[^\x00-\x7f]", lambda match: _ascii_number(match[0])),
        (f"[{''.join(_SUPERSCRIPTS)}]+", lambda match: f"^{{{''.join(map(_SUPERSCRIPTS.__getitem__, match[0]))}}}"),
        (r"(?<![\w)}\s])\s*[\u2012-\u2014](?=\s*[\w.\\])", "-"),
        (r"(?i)\b(?:minus|negative)\s+(?=[\d.\\])", "-"),
        (r"√\s*(\d+|[A-Za-z]|\([^()]*\)|\{[^{}]*\})", r"\\sqrt{\1}"),
        (rf"(?<![\\A-Za-z])({_NAMES})(?![A-Za-z])", r"\\\1 "),
        (r"(?<![\\A-Za-z])sqrt\s*(?:\(([^()]*)\)|(\d+|[A-Za-z]))", r"\\sqrt{\1\2}"),
        (r"(?<![\\A-Za-z])(?:infinity|infty)(?![A-Za-z])", r"\\infty "),
        (r"\\([dt]?(?:frac|binom))\s*(\d)\s*(\d)(?!\d)", r"\\\1{\2}{\3}"),
        (rf"(?<![\w.\\])({_NUMBER})[eE]([-+]?\d+)(?!\w)", r"\1 \\times 10^{\2}"),
        (r"(?<=\d)\s*[xX]\s*(?=10\s*(?:\^|\*\*))", r" \\times "),
        (r"(?<=[\w)}])\s*\*\*\s*(-?\w+|\([^()]*\))", r"^{\1}"),
        (
            rf"{_FACTOR}\s*(?:\\times|\\cdot|\*|\u00d7)\s*10\s*\^\s*(?:{_EXPONENT}|(\d))(?!\w)",
            lambda match: _decimal(*match.groups()),
        ),
        (r"(?<![\w.,^])(\d+)\s+(\d+)\s*/\s*(\d+)(?!\w)", r"\1\\frac{\2}{\3}"),
        (r"(?<![\w.,^])\d{1,3}(?:(?:\\[,;:! ]|[ ~'_])\d{3})+(?!\d)", lambda match: re.sub(r"\D", "", match[0])),
        (r"(?<![\w.^\\])(\d+(?:\.\d+)?)\s+(?=\d)", r"\1, "),
    )
)


def latex_of(answer: str) -> str:
    r"""The same answer, with everything spelt as in LaTeX: `1.5 \times 10^{3}` for "1.5e3", `\frac{1}{2}` for "½"."""
    text = answer.translate(_CHARACTERS)
    for pattern, replacement in _RULES:
        text = pattern.sub(replacement, text)
    return rf"\text{{{text.lower()}}}" if _WORDS.fullmatch(text) else text


def _ascii_number(character: str) -> str:
    """Digits of any script and fractions of one character; others as they are."""
    if character.isdecimal():
        return str(unicodedata.decimal(character))
    above, slash, below = unicodedata.normalize("NFKC", character).partition("\u2044")
    return rf"\frac{{{above}}}{{{below}}}" if slash and below else character


def _decimal(factor: str, exponent: str | None, digit: str | None) -> str:
    """A number without its power of ten: of a product math-verify compares no more than 15 decimals."""
    return format(Decimal(f"{factor}e{exponent or digit}"), "f")
