r"""Finding the final answer that a model put in \boxed{...}."""

OPENING = "\\boxed{"


def last_boxed(text: str) -> str | None:
    r"""Content of the last \boxed{...}, braces balanced; None if there is none or it never closes.

    One pass over the tail: a completion of a thousand unclosed boxes costs no more than its length.
    """
    start = text.rfind(OPENING)
    if start < 0:
        return None
    start += len(OPENING)
    depth = 1
    for position in range(start, len(text)):
        depth += {"{": 1, "}": -1}.get(text[position], 0)
        if depth == 0:
            return text[start:position]
    return None
