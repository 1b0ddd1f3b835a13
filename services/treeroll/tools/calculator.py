"""Integer arithmetic: the model writes ``<12*7>`` and reads ``=84``."""

import re
from typing import ClassVar

# Bounds the digits of a result (a product is no longer than its factors together), the parser's recursion, and time.
MAX_CALL_CHARS = 64

_TOKEN = re.compile(r"[0-9]+|[-+*()]")
_EXPRESSION = re.compile(r"[-+*() 0-9]*")


class Calculator:
    """Sums, differences and products of integers, with parentheses; spaces are ignored, digits are ASCII.

    A call is what stands between the last `<` and the final `>`, of at most MAX_CALL_CHARS characters. The observation
    is ``=``, the value in plain digits, and a newline; or ``=error: `` with what is wrong, and a newline.
    """

    name: ClassVar[str] = "calculator"
    summary: ClassVar[str] = "integers with + - * and parentheses: <12*7> is followed by =84"
    call_end: ClassVar[str] = ">"

    def answer(self, text: str) -> str:
        """The value, or an error, as one line."""
        try:
            return f"={_value(_call(text))}\n"
        except _BadCallError as error:
            return f"=error: {error}\n"


class _BadCallError(Exception):
    """A call without a value; the message goes to the model, so it repeats nothing of what the model wrote."""


def _call(text: str) -> str:
    """The expression of the call that ends the text. Looks at the tail only: a completion may be long."""
    if not text.endswith(Calculator.call_end):
        raise _BadCallError("no call")
    _, opening, call = text[-MAX_CALL_CHARS - 2 : -1].rpartition("<")
    if not opening:
        raise _BadCallError(f"no call within {MAX_CALL_CHARS} characters")
    return call


def _value(expression: str) -> int:
    if not _EXPRESSION.fullmatch(expression):
        raise _BadCallError("only digits + - * ( ) are allowed")
    tokens = _Tokens(expression)
    value = _sum(tokens)
    if tokens.next:
        raise _BadCallError("not an expression")
    return value


class _Tokens:
    """The tokens of an expression, one at a time; `next` is empty after the last."""

    def __init__(self, expression: str) -> None:
        self._rest = iter(_TOKEN.findall(expression))
        self.next = next(self._rest, "")

    def take(self) -> str:
        token, self.next = self.next, next(self._rest, "")
        return token


def _sum(tokens: _Tokens) -> int:
    """product (("+" | "-") product)*"""
    value = _product(tokens)
    while tokens.next in ("+", "-"):
        sign = -1 if tokens.take() == "-" else 1
        value += sign * _product(tokens)
    return value


def _product(tokens: _Tokens) -> int:
    """factor ("*" factor)*"""
    value = _factor(tokens)
    while tokens.next == "*":
        tokens.take()
        value *= _factor(tokens)
    return value


def _factor(tokens: _Tokens) -> int:
    """integer | "-" factor | "(" sum ")" """
    first = tokens.take()
    if first.isdecimal():
        return int(first)
    if first == "-":
        return -_factor(tokens)
    if first == "(":
        value = _sum(tokens)
        if tokens.take() == ")":
            return value
    raise _BadCallError("not an expression")
