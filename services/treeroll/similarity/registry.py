"""Every embedder, by name. The only place that knows them all."""

from collections.abc import Mapping
from typing import Final

from treeroll.errors import InvalidInput
from treeroll.similarity.embedder import Embedder
from treeroll.similarity.ngrams import HashedNgrams

EMBEDDERS: Final[Mapping[str, Embedder]] = {embedder.name: embedder for embedder in (HashedNgrams(),)}


def get(name: str) -> Embedder:
    """The embedder a policy names. InvalidInput if there is none, naming what exists."""
    if name not in EMBEDDERS:
        raise InvalidInput(f"unknown embedder '{name[:200]}'; choose one of {', '.join(EMBEDDERS)}")
    return EMBEDDERS[name]


def summaries() -> dict[str, str]:
    """Name and one-line summary of every embedder, for people."""
    return {name: embedder.summary for name, embedder in EMBEDDERS.items()}
