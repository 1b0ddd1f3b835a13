"""Where the segments of one branch end, if it has a token limit of its own or begins where segments have ended."""

from treeroll.core.branch import Branch
from treeroll.core.live import LiveTree


def narrowed(live: LiveTree, branch: Branch) -> list[int]:
    """The tree's boundaries, up to the branch's limit and without those that what is inserted has passed.

    Total lengths for depth 1, 2, ...; none for the branch's next depth if it has no room for a token. Branches for
    which nothing changes share the tree's list.
    """
    ends, depth = live.boundaries, branch.depth
    if branch.max_tokens is not None:
        ends = _limited(live, live.tree.root.n_tokens + branch.max_tokens)
    if depth >= len(ends) or branch.position < ends[depth]:
        return ends
    return [*ends[:depth], *(end for end in ends[depth:] if end > branch.position)]


def _limited(live: LiveTree, longest: int) -> list[int]:
    ends = live.boundaries
    if longest >= ends[-1]:
        return ends
    if live.run.spec.segment.delimiter is not None:
        return [longest] * len(ends)
    return [*(end for end in ends if end < longest), longest]
