"""Worked solutions that leave some of the arithmetic to a calculator.

The same chains as in arithmetic.py, reduced in the same order. Each step is, by the toss of a coin, either a call that
the tool answers or the model's own head, and reads the same from its result on:

    Compute 12+4*6-30.
    <4*6>=24
    So 12+24-30.
    12+24=36
    So 36-30.
    <36-30>=6
    The answer is \\boxed{6}.

A small model is bad at sums of long numbers and good at copying them, so a trained one is right when it calls where it
should: something that training by rewards can teach it.
"""

import random
from dataclasses import dataclass

from treeroll.tools.base import Tool

from .arithmetic import Level, Tokens, allowed_in_training, draw, prompt_of, reduce_once, render

CALL_SHARE = 0.5  # of the steps in training


@dataclass(frozen=True)
class Piece:
    """A stretch of a solution, by who writes it."""

    text: str
    observed: bool = False  # written by the tool: the model reads it and is not trained to write it


def solve_with_calls(tokens: Tokens, tool: Tool, rng: random.Random) -> list[Piece]:
    """A worked solution, cut where calls end and observations end."""
    pieces: list[Piece] = []
    written = ""
    while len(tokens) > 1:
        step, tokens = reduce_once(tokens)
        rest = f"So {render(tokens)}.\n" if len(tokens) > 1 else ""
        if rng.random() < CALL_SHARE:
            written += f"<{step.partition('=')[0]}{tool.call_end}"
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
