"""Prefixes: which tokens samples of one tree share, as segments in depth-first order."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise

from treeroll.errors import InvalidInput
from treeroll.records.fields import Sample

PROMPT = 0
"""Number of the node that holds the prompt."""


@dataclass(frozen=True, slots=True)
class Span:
    """A segment: nodes of a tree that follow each other without a fork, as a part of each of its samples."""

    prompt_tokens: int
    """All of the prompt's, for a tree's first segment; 0 for others."""
    start: int
    end: int
    """Its part of a completion."""
    position: int
    """Of its first token, prompt included."""
    parent: int
    """Number of the segment before it; -1 for a tree's first."""
    last: int
    """Number of the last segment at or below it."""
    samples: tuple[int, ...]
    """Numbers of the samples that go through it."""

    @property
    def tokens(self) -> int:
        """How many."""
        return self.prompt_tokens + self.end - self.start


@dataclass(frozen=True)
class Tree:
    """Samples of one tree, as paths of numbered nodes."""

    samples: Sequence[Sample]
    """All that numbers of samples are numbers of."""
    paths: Mapping[int, Sequence[int]]
    """Number of a sample -> its nodes, the prompt first, without those that have no tokens."""
    bounds: Mapping[int, tuple[int, int]]
    """Node -> its part of the completion."""
    prompt_tokens: int

    @cached_property
    def tokens(self) -> int:
        """Of all nodes on the paths, each counted once."""
        return self.size({node for path in self.paths.values() for node in path})

    def size(self, nodes: Iterable[int]) -> int:
        """Tokens of nodes."""
        return sum(self.bounds[node][1] - self.bounds[node][0] if node else self.prompt_tokens for node in nodes)

    def part(self, numbers: Iterable[int]) -> "Tree":
        """The tree of some of its samples."""
        return replace(self, paths={number: self.paths[number] for number in numbers})

    def segments(self, first: int) -> tuple[list[Span], dict[int, list[int]]]:
        """Segments in depth-first order, numbered from `first`, and for each sample the numbers of its own."""
        children: dict[int, dict[int, None]] = {}
        through: dict[int, list[int]] = {}
        for number, path in self.paths.items():
            for node in path:
                through.setdefault(node, []).append(number)
            for node, child in pairwise(path):
                children.setdefault(node, {})[child] = None
        ends = {path[-1] for path in self.paths.values()}
        spans: list[Span] = []
        segment_of: dict[int, int] = {}
        stack = [(PROMPT, -1)]
        while stack:
            node, parent = stack.pop()
            number = first + len(spans)
            run = [node]
            while run[-1] not in ends and len(below := children[run[-1]]) == 1:
                run += below
            segment_of |= dict.fromkeys(run, number)
            spans.append(self._span(run, parent, number, through[node]))
            stack += [(child, number) for child in reversed(children.get(run[-1], {}))]
        own = {number: list(dict.fromkeys(segment_of[node] for node in path)) for number, path in self.paths.items()}
        return _with_ends(spans, first), own

    def _span(self, run: Sequence[int], parent: int, number: int, samples: Sequence[int]) -> Span:
        prompt = self.prompt_tokens if run[0] == PROMPT else 0
        (start, _), (_, end) = self.bounds[run[0]], self.bounds[run[-1]]
        position = 0 if prompt else self.prompt_tokens + start
        return Span(prompt, start, end, position, parent, number, tuple(samples))


def trees_of(samples: Sequence[Sample], numbers: Iterable[int]) -> list[Tree]:
    """Trees of the samples with these numbers, in order of appearance.

    InvalidInput for a prompt without tokens, and where samples disagree about a node that they share.
    """
    grouped: dict[tuple[str, bytes], list[int]] = {}
    for number in numbers:
        sample = samples[number]
        # Edges, which are samples of one tree too, have prompts of their own.
        grouped.setdefault((sample.tree_id, sample.prompt_ids.tobytes()), []).append(number)
    return [_tree(samples, group) for group in grouped.values()]


def _tree(samples: Sequence[Sample], numbers: Sequence[int]) -> Tree:
    names: dict[str, int] = {}
    bounds = {PROMPT: (0, 0)}
    paths: dict[int, list[int]] = {}
    prompt_tokens = len(samples[numbers[0]].prompt_ids)
    if not prompt_tokens:
        raise InvalidInput(f"sample {samples[numbers[0]].sample_id} has no prompt, so nothing predicts its first token")
    for number in numbers:
        sample = samples[number]
        path = paths[number] = [PROMPT]
        offsets = [*sample.path_offsets.tolist(), len(sample.completion_ids)]
        for name, (start, end) in zip(sample.path_node_ids, pairwise(offsets), strict=True):
            node = names.setdefault(name, len(names) + 1)
            if bounds.setdefault(node, (start, end)) != (start, end):
                raise InvalidInput(f"node {name} has other tokens in sample {sample.sample_id} than in others")
            if start < end:
                path.append(node)
    return Tree(samples, paths, bounds, prompt_tokens)


def _with_ends(spans: Sequence[Span], first: int) -> list[Span]:
    last = [span.last for span in spans]
    for place in range(len(spans) - 1, 0, -1):
        parent = spans[place].parent - first
        last[parent] = max(last[parent], last[place])
    return [replace(span, last=end) for span, end in zip(spans, last, strict=True)]
