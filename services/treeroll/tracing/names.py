"""Names of traces and spans: functions of what they are about, so that processes agree without telling each other.

A trace is of one tree, and its id ends with the tree's. https://www.w3.org/TR/trace-context/
"""

import re

from treeroll.tree.rng import hash64

# "treeroll" in ASCII: the first half of every trace's id.
_OURS = int.from_bytes(b"treeroll", "big") << 64
_PARENT = re.compile(r"[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-[0-9a-f]{2}(?:-.*)?")


def sampled(tree_id: str, ratio: float) -> bool:
    """Whether the tree is one of those traced: the same everywhere, since a tree's id is a hash already."""
    return int(tree_id, 16) < ratio * 2**64


def trace_id(tree_id: str) -> int:
    """Of a tree's trace, 128 bits: `74726565726f6c6c` and the tree's id."""
    return _OURS | int(tree_id, 16)


def span_id(tree_id: str, kind: str, *parts: str | int) -> int:
    """Of one of its spans, 64 bits, never 0."""
    return hash64("span", tree_id, kind, *parts) or 1


def branch_span(tree_id: str, path: str, attempt: int) -> int:
    """Of one grant of a branch: `path` is that of the first node that it makes."""
    return span_id(tree_id, "branch", path, attempt)


def delivery_span(tree_id: str, group: str, times: int) -> int:
    """Of one delivery to a consumer group."""
    return span_id(tree_id, "delivery", group, times)


def traceparent(tree_id: str, span: int) -> str:
    """What a process is told that works below the span."""
    return f"00-{trace_id(tree_id):032x}-{span:016x}-01"


def parent_of(header: str) -> tuple[int, int] | None:
    """Trace and span of a traceparent that somebody sent; None if it is none."""
    found = _PARENT.fullmatch(header)
    if found is None:
        return None
    trace, span = int(found[1], 16), int(found[2], 16)
    return (trace, span) if trace and span else None
