"""Tokenizers of the `tokenizers` library, made from a model's facts: for prompts, and for text that others wrote."""

import json
from typing import Any

from treeroll.model.facts import ModelFacts


def prompt_encoder(facts: ModelFacts) -> Any:
    """Reads special tokens in a text as AutoTokenizer does."""
    from tokenizers import Tokenizer

    fast = Tokenizer.from_str(facts.tokenizer_json)
    fast.encode_special_tokens = facts.split_special_tokens
    return fast


class PlainEncoder:
    """Encodes text that goes on behind other tokens, and that nobody may command with.

    No special token comes of it, no token that ends a text and none that the model has no row for: their names are
    spelt out. No space is put before it, as tokenizers of sentences do.
    """

    def __init__(self, facts: ModelFacts) -> None:
        from tokenizers import Tokenizer

        spec = json.loads(facts.tokenizer_json)
        rows = facts.vocab_size or len(spec["added_tokens"]) + len(spec["model"]["vocab"])
        for token in spec["added_tokens"]:
            token["special"] = token["special"] or token["id"] in facts.stop_ids or token["id"] >= rows
        for part in ("normalizer", "pre_tokenizer"):
            spec[part] = _without_prefix_space(spec[part])
        self._fast: Any = Tokenizer.from_str(json.dumps(spec))
        self._fast.encode_special_tokens = True
        special = {token["id"] for token in spec["added_tokens"] if token["special"]}
        self.unknown_id = _unknown_id(spec["model"])
        """Token of what the vocabulary lacks; None for a tokenizer that writes everything, or leaves it out."""
        self._control = frozenset(special - {self.unknown_id})

    def encode(self, text: str) -> list[int]:
        """Ids of the text, without any that are added around texts."""
        ids = self._ids(text)
        if self._control.isdisjoint(ids):
            return ids
        # A vocabulary may hold the name of a special token as a word, too. No such word has one character.
        return [token for character in text for token in self._ids(character)]

    def _ids(self, text: str) -> list[int]:
        return list(self._fast.encode(text, add_special_tokens=False).ids)


def _without_prefix_space(part: Any) -> Any:
    """A normalizer or pre-tokenizer, as JSON, that puts nothing before a text. None if nothing is left of it."""
    match part:
        case {"type": "Sequence"}:
            (members,) = (key for key in ("normalizers", "pretokenizers") if key in part)
            kept = [_without_prefix_space(member) for member in part[members]]
            return {**part, members: [member for member in kept if member is not None]}
        case {"type": "Metaspace"}:
            return {**part, "prepend_scheme": "never"}
        case {"type": "ByteLevel"}:
            return {**part, "add_prefix_space": False}
        case {"type": "Prepend"}:
            return None
    return part


def _unknown_id(model: dict[str, Any]) -> int | None:
    """Token of what the vocabulary lacks."""
    unknown = model.get("unk_token")
    return model.get("unk_id") if unknown is None else model["vocab"].get(unknown)
