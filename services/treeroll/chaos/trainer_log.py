"""What a trainer saw, line by line in a file that outlives it; and what of a tree must not depend on any fault."""

import json
import os
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any, Literal

from treeroll import clock
from treeroll.client.records import Node, Sample, TreeRecord

Rows = dict[str, str]
"""Path of a node, or "" for the tree itself -> digest of what it holds. Equal trees have equal rows."""


@dataclass(frozen=True, slots=True)
class Told:
    """One line: what happened to trees, by their ids."""

    kind: Literal["delivered", "failed", "acknowledged", "refused", "done"]
    """"failed" is a delivery without a sample; "refused": the service said that some of these leases are lost."""
    trees: list[str]
    task: str = ""
    rows: Rows = field(default_factory=dict)
    spent: int = 0
    """Tokens of the tree's account."""
    number: int = 0
    """Which delivery of the tree it is, by what the service says: 1, 2, ..."""
    why: str = ""
    at_s: float = field(default_factory=clock.monotonic)
    """On the clock that all processes of a machine share."""


class TrainerLog:
    """A file to which lines are appended. What was written is there after a kill -9 of the writer."""

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def write(self, told: Told) -> None:
        """Append one line, whole."""
        os.write(self._file, json.dumps(asdict(told)).encode() + b"\n")

    def write_all(self, lines: Iterable[Told]) -> None:
        """Append several."""
        for told in lines:
            self.write(told)

    def __enter__(self) -> "TrainerLog":
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._file)


def read_log(path: Path) -> list[Told]:
    """All its lines; none if there is no such file."""
    if not path.exists():
        return []
    return [Told(**json.loads(line)) for line in path.read_text().splitlines()]


def rows_of(tree: TreeRecord) -> Rows:
    """What must be equal in two growths of one task with one seed, whatever happened meanwhile.

    Not: when and where something was made, at which try, what was in a cache, and what was dropped.
    """
    whole = (tree.status, tree.stop_reason, tree.n_scored, tree.n_censored, tree.answer)
    rows = {"": _digest(*whole, *(_sample(sample) for sample in tree.samples))}
    return rows | {node.path: _node(node) for node in tree.nodes if node.depth}


def _node(node: Node) -> str:
    return _digest(
        node.depth, node.token_start, node.token_ids.tobytes(), node.logprobs.tobytes(), node.text, node.status,
        node.stop_reason, node.branch_reason, node.decision, node.group, node.model, node.temperature, node.n_leaves,
        node.value,
    )  # fmt: skip


def _sample(sample: Sample) -> str:
    advantages = None if sample.advantages is None else sample.advantages.tobytes()
    path = sample.sample_id.rpartition(":")[2]
    return _digest(sample.index, path, sample.reward, sample.reward_status, sample.path_weight, advantages)


def _digest(*values: Any) -> str:
    return sha256(repr(values).encode()).hexdigest()[:16]
