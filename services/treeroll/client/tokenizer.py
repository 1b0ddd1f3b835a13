"""What a trainer must know of the tokens that it gets, and whether its own tokenizer means the same by them."""

from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError
from pathlib import Path

from treeroll.errors import InvalidInput
from treeroll.model.facts import load_facts
from treeroll.pb.v1 import rollout_pb2


@dataclass(frozen=True, slots=True)
class TokenizerFacts:
    """The service's tokenizer, as far as a run's models go."""

    hash: str
    """Of its files and chat template: equal hashes give equal ids."""
    eos_token_ids: list[int]
    """Ids that end a completion; empty: paths run to max_tokens."""
    pad_token_id: int | None
    """Its padding; None: it has none, so pad with any id, and mask."""
    max_model_len: int
    """Most tokens of prompt and completion together."""

    @classmethod
    def from_proto(cls, facts: rollout_pb2.TokenizerFacts) -> "TokenizerFacts":
        """Read it from the wire."""
        pad = facts.pad_token_id if facts.HasField("pad_token_id") else None
        return cls(facts.hash, list(facts.eos_token_ids), pad, facts.max_model_len)


def check_same(path: str | Path, hash_there: str, address: str) -> None:
    """InvalidInput unless the directory's tokenizer and chat template are those of the service, file by file.

    Takes seconds the first time, in which transformers reads the directory.
    """
    try:
        here = load_facts(Path(path)).hash
    except PackageNotFoundError as error:
        raise InvalidInput(f"to read the tokenizer of {path}, {error.name} is needed here; install it") from None
    if here != hash_there:
        raise InvalidInput(
            f"the tokenizer of {path} has hash {here}, that of the service at {address} {hash_there}: ids may mean "
            "other tokens, so train with the files that the service was started with, or start it with these"
        )
