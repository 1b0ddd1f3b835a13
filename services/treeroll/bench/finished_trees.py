"""Finished trees as the coordinator stores them, made without growing them: what `bench feed` delivers."""

import random
import struct
from dataclasses import dataclass

import numpy as np

from treeroll.pb.v1 import common_pb2 as pb
from treeroll.store.base import Commit

PROMPT_TOKENS = 64
CHARS_PER_TOKEN = 4
VOCABULARY = 90


@dataclass(frozen=True, slots=True)
class TreeShape:
    """TreePO's growth without early ends: every path doubles until there are enough, then all run on."""

    leaves: int = 16
    segments: int = 8
    segment_tokens: int = 128

    @property
    def tokens_per_sample(self) -> int:
        """Completion tokens of one sample."""
        return self.segments * self.segment_tokens

    def parents(self) -> list[list[int]]:
        """Per depth, the parent numbers of its nodes; the root is node 0."""
        levels, last, count = [], [0], 1
        for _ in range(self.segments):
            width = min(2 * len(last), self.leaves)
            level = [last[at * len(last) // width] for at in range(width)]
            levels.append(level)
            last = list(range(count, count + width))
            count += width
        return levels


class FinishedTrees:
    """Commits of finished trees. Nodes are drawn once per `variety`; every tree has an id and a header of its own."""

    def __init__(self, shape: TreeShape, variety: int = 16) -> None:
        self._shape = shape
        self._random = random.Random(1)  # noqa: S311 - noise, not secrets
        self._noise = np.random.default_rng(1)
        self._nodes = [self._tree_nodes() for _ in range(variety)]
        self._header = self._credited()

    def commit(self, run_id: str, first: int, count: int) -> Commit:
        """Trees number `first` and on, all in the feed."""
        commit = Commit()
        for number in range(first, first + count):
            tree_id = f"{number:016x}"
            self._header.tree_id, self._header.run_id, self._header.task_id = tree_id, run_id, f"task-{number}"
            commit.trees[tree_id] = self._header.SerializeToString()
            commit.nodes[tree_id] = self._nodes[number % len(self._nodes)]
            commit.feed.append((run_id, tree_id))
        return commit

    def _tree_nodes(self) -> list[tuple[int, bytes]]:
        root = pb.Node(
            token_ids=self._ids(PROMPT_TOKENS), text=self._text(PROMPT_TOKENS), status="inner", branch_reason="prompt",
            decision="boundary",
        )  # fmt: skip
        records = [(0, root.SerializeToString())]
        siblings: dict[int, int] = {}
        for depth, parents in enumerate(self._shape.parents(), 1):
            for parent in parents:
                siblings[parent] = siblings.get(parent, -1) + 1
                node = self._node(len(records), parent, depth, siblings[parent])
                records.append((node.number, node.SerializeToString()))
        return records

    def _node(self, number: int, parent: int, depth: int, sibling_index: int) -> pb.Node:
        tokens, last = self._shape.segment_tokens, depth == self._shape.segments
        node = pb.Node(
            number=number, parent=parent, depth=depth, sibling_index=sibling_index,
            token_start=PROMPT_TOKENS + (depth - 1) * tokens,
            token_ids=self._ids(tokens), logprobs=(-self._noise.exponential(0.5, tokens)).astype("<f4").tobytes(),
            text=self._text(tokens), weight_versions=[pb.WeightSpan(version=1, tokens=tokens)],
            branch_reason="fork" if sibling_index else "initial", decision="boundary",
            status="leaf" if last else "inner", stop_reason="length" if last else "",
            replica_id="r0", incarnation=1, attempt=1, started_at=1.7e9, finished_at=1.7e9 + depth,
        )  # fmt: skip
        if sibling_index:
            node.cached_tokens, node.recomputed_tokens = node.token_start - 1, 1
        return node

    def _credited(self) -> pb.Tree:
        levels = self._shape.parents()
        header = pb.Tree(
            prompt_text=self._text(PROMPT_TOKENS), status="complete", n_scored=self._shape.leaves, temperature=1.0,
            top_p=1.0, logprobs_mode="processed", tokenizer_hash="0" * 16, extra_json="{}",
        )  # fmt: skip
        spent = sum(map(len, levels)) * self._shape.segment_tokens
        header.ledger.granted = header.ledger.spent = spent
        first_leaf = 1 + sum(map(len, levels[:-1]))
        for leaf in range(self._shape.leaves):
            advantages = self._noise.normal(size=self._shape.segments).tolist()
            header.leaves.add(
                leaf=first_leaf + leaf, path_weight=1 / self._shape.leaves, reward=float(leaf % 2), reward_status="ok",
                advantages=struct.pack(f"<{len(advantages)}d", *advantages),
            )  # fmt: skip
        return header

    def _ids(self, tokens: int) -> bytes:
        return self._noise.integers(10, VOCABULARY, tokens, "<i4").tobytes()

    def _text(self, tokens: int) -> str:
        return "".join(self._random.choices("abcdefghij klmnopqrst uvwxyz", k=CHARS_PER_TOKEN * tokens))
