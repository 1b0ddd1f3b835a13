"""From a worked solution to what the loss sees: on what the model writes, not on the prompt nor on observations."""

from collections.abc import Sequence

from .tokenizer import EOS_ID, encode
from .tool_calls import Piece

IGNORED = -100  # label that the loss skips

Row = tuple[list[int], list[int]]  # token ids, and a label for each


def make_row(prompt: str, solution: Sequence[Piece]) -> Row:
    """One sequence, ended by end-of-text."""
    ids = encode(prompt)
    labels = [IGNORED] * len(ids)
    for piece in solution:
        piece_ids = encode(piece.text)
        ids += piece_ids
        labels += [IGNORED] * len(piece_ids) if piece.observed else piece_ids
    return [*ids, EOS_ID], [*labels, EOS_ID]
