"""What ETS decides about: waiting paths, the nodes above them, and what keeping them is worth; and two ways to decide.

A choice of paths is worth the shares of the width that they have, less `price` times the costs of their nodes and of
all nodes above, each counted once, plus `coverage` times the share of clusters that have a path in it. At least one
path is chosen.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from heapq import heapify, heappop, heappush

# A gain below is rounding.
NOTHING = 1e-12


@dataclass(frozen=True, slots=True)
class Problem:
    """Nodes are numbered so that parents come first; the first is the prompt, its own parent, above all the others.

    `costs` of all nodes sum to 1. `leaves[i]` is the node of path i, `shares[i]` its part of the width, `clusters[i]`
    the cluster of its last step, 0 and up; no clusters if nobody asks for coverage.
    """

    parents: Sequence[int]
    costs: Sequence[float]
    leaves: Sequence[int]
    shares: Sequence[float]
    price: float
    clusters: Sequence[int] = ()
    coverage: float = 0.0

    @property
    def new_cluster(self) -> float:
        """What one more cluster is worth."""
        return self.coverage / (max(self.clusters) + 1) if self.clusters else 0.0

    def value(self, kept: Collection[int]) -> float:
        """What keeping these paths is worth."""
        nodes = {node for path in kept for node in self.above(path)}
        covered = {self.clusters[path] for path in kept} if self.clusters else set()
        cost = sum(self.costs[node] for node in nodes)
        return sum(self.shares[path] for path in kept) - self.price * cost + self.new_cluster * len(covered)

    def above(self, path: int) -> list[int]:
        """The path's node and those above it."""
        nodes = [self.leaves[path]]
        while nodes[-1]:
            nodes.append(self.parents[nodes[-1]])
        return nodes


def closure(problem: Problem) -> list[int]:
    """The best paths to keep where coverage counts for nothing, in order: exact, in one pass from the bottom up.

    Below a node that is kept, whatever is worth something is kept, or else the best child; the first of equal ones.
    """
    worth = [-problem.price * cost for cost in problem.costs]
    for path, node in enumerate(problem.leaves):
        worth[node] += problem.shares[path]
    best: dict[int, int] = {}  # node -> its best child
    gained = [0.0] * len(worth)  # by children worth something
    # Children are done before their parents, later siblings first.
    for node in range(len(worth) - 1, 0, -1):
        parent = problem.parents[node]
        total = worth[node] + _below(node, worth, best, gained)
        worth[node] = total
        gained[parent] += max(total, 0.0)
        if parent not in best or total >= worth[best[parent]]:
            best[parent] = node
    kept = [True] + [False] * (len(worth) - 1)
    for node in range(1, len(worth)):
        parent = problem.parents[node]
        kept[node] = kept[parent] and (worth[node] > NOTHING or (gained[parent] <= NOTHING and best[parent] == node))
    return [path for path, node in enumerate(problem.leaves) if kept[node]]


def _below(node: int, worth: Sequence[float], best: dict[int, int], gained: Sequence[float]) -> float:
    """What the best choice below a node is worth."""
    if node not in best:
        return 0.0
    return gained[node] if gained[node] > NOTHING else worth[best[node]]


def greedy(problem: Problem) -> list[int]:
    """Good paths to keep, in order: the closure's, then one after another what adds most, while anything does.

    A path's gain falls when its cluster is covered, so the best of the heap is counted again before it is taken; it
    rises when nodes above it are paid for, so paths below those are put on the heap again.
    """
    kept = set(closure(problem))
    paid = {node for path in kept for node in problem.above(path)}
    covered = {problem.clusters[path] for path in kept} if problem.clusters else set()
    below: dict[int, list[int]] = {}
    for path in range(len(problem.leaves)):
        for node in problem.above(path):
            below.setdefault(node, []).append(path)

    def gain(path: int) -> float:
        cost = sum(problem.costs[node] for node in problem.above(path) if node not in paid)
        new = problem.new_cluster if problem.clusters and problem.clusters[path] not in covered else 0.0
        return problem.shares[path] - problem.price * cost + new

    heap = [(-gain(path), path) for path in range(len(problem.leaves))]
    heapify(heap)
    while heap:
        expected, path = heappop(heap)
        if path in kept:
            continue
        actual = gain(path)
        if actual < -expected:
            heappush(heap, (-actual, path))
            continue
        if actual <= NOTHING:
            break
        kept.add(path)
        new = [node for node in problem.above(path) if node not in paid]
        paid.update(new)
        if problem.clusters:
            covered.add(problem.clusters[path])
        for other in {other for node in new for other in below[node]} - kept:
            heappush(heap, (-gain(other), other))
    return sorted(kept)
