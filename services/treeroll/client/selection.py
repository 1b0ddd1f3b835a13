"""Selection: which leaves of a tree a trainer trains on."""

import hashlib
import math
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass

from treeroll.client.likeness import Encode, cosines
from treeroll.errors import InvalidInput
from treeroll.records.fields import Sample
from treeroll.similarity import registry as embedders
from treeroll.similarity.submodular import covering, diverse


@dataclass(frozen=True, slots=True)
class LeafSelection:
    """Up to `keep` scored leaves of every tree; `treeroll.client.select_leaves` applies it.

    With `balance` 0, one correct leaf if the tree has any, the others at random (TreeRL, which keeps 16 of 30). With
    `balance` b, first int(keep x b) correct and as many wrong ones, as far as there are, the others at random. `chains`
    counts separately for the leaves of each of the trees that Tree-GRPO grows from chains of its own, at random and
    without a guaranteed correct one (its release keeps 3 of each). Leaves without a reward are never kept.

    Ours: one tree of ours holds all chains, and its leaves belong together if growth gave them the same label, as
    `tree_grpo` does, or, without labels, if their paths begin with the same node. Credit by `tree_grpo` compares the
    same leaves. So without labels a path that was started at the prompt late is a chain of its own.

    "At random" is an order of leaves by a hash of `seed` and their name, so the same tree gives the same leaves
    wherever and whenever it is delivered; a tree with fewer leaves keeps all, where TreeRL's release stops; and
    `drop_duplicates` leaves out answers that another leaf counted with it gives token by token; and with `diverse`, the
    others are not drawn: each is the one that makes all scored leaves' texts most like one of those kept
    (`treeroll.similarity.submodular`), and only ties are drawn. `diverse` is the name of an embedder, or a
    function of your own from n texts to n vectors, such as `SentenceTransformer(path).encode`.
    """

    keep: int
    balance: float = 0.0
    chains: bool = False
    correct: float = 0.5
    """Smallest reward of a correct leaf."""
    drop_duplicates: bool = False
    diverse: str | Encode | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        if self.keep < 1:
            raise InvalidInput(f"keep must be 1 or more leaves, got {self.keep}")
        if not 0 <= self.balance <= 0.5:
            raise InvalidInput(
                f"balance must be 0 to 0.5, the share of correct and of wrong leaves, got {self.balance}"
            )
        if self.chains and self.balance:
            raise InvalidInput(f"chains=True selects at random; it does not go with balance={self.balance}")
        if not math.isfinite(self.correct):
            raise InvalidInput(f"correct must be a finite reward, got {self.correct}")
        if isinstance(self.diverse, str):
            embedders.get(self.diverse)


def select_leaves(samples: Iterable[Sample], selection: LeafSelection) -> list[Sample]:
    """The samples to train on, in the order in which they came. All of a tree's must be among `samples`."""
    samples = list(samples)
    chosen: set[str] = set()
    for group in _grouped(samples, _chain if selection.chains else _tree):
        found = sorted((s for s in group if s.reward is not None), key=lambda s: _lot(selection.seed, s.sample_id))
        if selection.drop_duplicates:
            found = _distinct(found)
        chosen.update(sample.sample_id for sample in _first(found, selection))
    return [sample for sample in samples if sample.sample_id in chosen]


def _distinct(drawn: Sequence[Sample]) -> list[Sample]:
    """The first sample of each answer."""
    firsts: dict[bytes, Sample] = {}
    for sample in drawn:
        firsts.setdefault(sample.completion_ids.tobytes(), sample)
    return list(firsts.values())


def _first(drawn: Sequence[Sample], selection: LeafSelection) -> list[Sample]:
    """`keep` of the samples: those that are wanted first, then the others as they were drawn, or the most diverse."""
    wanted = [] if selection.chains else _wanted(drawn, selection)
    if selection.diverse is None:
        first = set(wanted)
        order = [*wanted, *(place for place in range(len(drawn)) if place not in first)]
    elif isinstance(selection.diverse, str):
        texts = [embedders.get(selection.diverse).embed(sample.completion_text) for sample in drawn]
        order = diverse(selection.keep, [0.0] * len(drawn), texts, 1.0, wanted)
    else:
        alike = cosines([sample.completion_text for sample in drawn], selection.diverse)
        order = covering(selection.keep, [0.0] * len(drawn), alike, 1.0, wanted)
    return [drawn[place] for place in order[: selection.keep]]


def _wanted(drawn: Sequence[Sample], selection: LeafSelection) -> list[int]:
    """Places of the correct and wrong samples that are kept whatever the others are."""
    right: list[int] = []
    wrong: list[int] = []
    for place, sample in enumerate(drawn):
        if sample.reward is not None:
            (right if sample.reward >= selection.correct else wrong).append(place)
    share = int(selection.keep * selection.balance)
    return right[:share] + wrong[:share] if selection.balance else right[:1]


def _grouped(samples: Sequence[Sample], key: Callable[[Sample], Hashable]) -> Iterable[list[Sample]]:
    groups: dict[Hashable, list[Sample]] = {}
    for sample in samples:
        groups.setdefault(key(sample), []).append(sample)
    return groups.values()


def _tree(sample: Sample) -> str:
    return sample.tree_id


def _chain(sample: Sample) -> Hashable:
    return sample.tree_id, sample.group or sample.path_node_ids[0]


def _lot(seed: int, name: str) -> bytes:
    return hashlib.blake2b(f"{seed}:{name}".encode(), digest_size=16).digest()
