"""Finding a text in a tree: along its paths, since a phrase often begins in one node and ends in the next."""

from collections.abc import Iterable, Sequence

from treeroll.errors import InvalidInput

# Characters that may be looked for, and nodes that one answer names.
MOST_CHARS, MOST_FOUND = 200, 1000


def ends_of_matches(parents: Sequence[int], texts: Iterable[str], wanted: str) -> list[int]:
    """Numbers of the nodes [N] in whose text a match ends, wherever on the path to them it begins; capitals do not
    matter. Parents come before their children, -1 or more than N for the root. InvalidInput for what cannot be looked
    for."""
    if not 0 < len(wanted) <= MOST_CHARS:
        raise InvalidInput(f"q must be the text to find, of 1 to {MOST_CHARS} characters")
    needle = wanted.casefold()
    kept = len(needle) - 1
    tails: list[str] = []  # of each path, what a match that ends further on may begin with
    found: list[int] = []
    for number, text in enumerate(texts):
        parent = parents[number]
        path = (tails[parent] if 0 <= parent < number else "") + text.casefold()
        if needle in path:
            found.append(number)
        tails.append(path[-kept:] if kept else "")
    return found
