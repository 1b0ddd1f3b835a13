"""Worked solutions that leave arithmetic to a calculator.

The same chains as in arithmetic.py, reduced in the same order. A step with small numbers is a call that the tool
answers; one with larger numbers is, by the toss of a coin, a call or the model's own head. Both read the same from
the result on:

    Compute 112+4*60-30.
    <4*60>=240
    So 112+240-30.
    112+240=352
    So 352-30.
    <352-30>=322
    The answer is \\boxed{322}.

A small model soon learns to copy numbers into calls and not to add them, so a trained one is right when it calls, and
mostly wrong when it does not: something that training by rewards can teach it.
"""

import random
import re
from dataclasses import dataclass

from treeroll.demo.arithmetic import Level, Tokens, allowed_in_training, draw, prompt_of, reduce_once, render
from treeroll.tools.base import Tool

SMALL_DIGITS = 2  # no number of a small step has more
CALL_SHARE = 0.5  # of the other steps in training


@dataclass(frozen=True)
class Piece:
    """A stretch of a solution, by who writes it."""

    text: str
    observed: bool = False  # written by the tool: the model reads it and is not trained to write it


def is_small(operation: str) -> bool:
    return all(len(number) <= SMALL_DIGITS for number in re.split("[+*-]", operation))


def solve_with_calls(tokens: Tokens, tool: Tool, rng: random.Random) -> list[Piece]:
    """A worked solution, cut where calls end and observations end."""
    pieces: list[Piece] = []
    written = ""
    while len(tokens) > 1:
        step, tokens = reduce_once(tokens)
        operation = step.partition("=")[0]
        rest = f"So {render(tokens)}.\n" if len(tokens) > 1 else ""
        if is_small(operation) or rng.random() < CALL_SHARE:
            written += f"<{operation}{tool.call_end}"
            pieces += [Piece(written), Piece(tool.answer(written), observed=True)]
            written = rest
        else:
            written += f"{step}\n{rest}"
    return [*pieces, Piece(f"{written}The answer is \\boxed{{{tokens[0]}}}.")]


def training_example_with_calls(level: Level, tool: Tool, rng: random.Random) -> tuple[str, list[Piece]]:
    """A prompt and its solution, never touching the held-out expressions."""
    while True:
        tokens = draw(level, rng)
        if allowed_in_training(tokens):
            return prompt_of(render(tokens)), solve_with_calls(tokens, tool, rng)
