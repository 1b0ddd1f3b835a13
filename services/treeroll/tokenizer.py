"""Prompts to token ids, once, in one place. Completions are never tokenised again.

Plain text needs only the `tokenizers` library; chat messages are made text by `treeroll.chat.template`.
"""

import json
from dataclasses import dataclass
from datetime import date
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import Any

from treeroll.chat.template import ChatTemplate
from treeroll.errors import InvalidInput

_HASHED_FILES = ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja", "special_tokens_map.json")


@dataclass(frozen=True)
class Tokenizer:
    """The tokenizer of a model directory in Hugging Face layout."""

    model_dir: Path
    # Context that the engine is configured for, if it is less than the model's.
    context: int | None = None

    @classmethod
    def load(cls, model_dir: Path | str, context: int | None = None) -> "Tokenizer":
        """Check that the directory is a model; InvalidInput says what is missing."""
        path = Path(model_dir)
        if not path.is_dir():
            raise InvalidInput(f"model path {path} is not a directory")
        for name in ("config.json", "tokenizer.json"):
            if not (path / name).is_file():
                raise InvalidInput(f"model path {path} is no model: it has no {name}")
        if not any(path.glob("*.safetensors")):
            raise InvalidInput(f"model path {path} is no model: it has no .safetensors weights")
        tokenizer = cls(path, context)
        _ = tokenizer.max_model_len, tokenizer._fast
        return tokenizer

    @cached_property
    def _fast(self) -> Any:
        from tokenizers import Tokenizer as FastTokenizer

        try:
            return FastTokenizer.from_file(str(self.model_dir / "tokenizer.json"))
        except Exception as error:  # the Rust library raises bare Exception
            raise InvalidInput(f"{self.model_dir / 'tokenizer.json'} is not a tokenizer: {error}") from None

    @cached_property
    def chat(self) -> ChatTemplate:
        """The model's chat template."""
        return ChatTemplate(self.model_dir)

    @cached_property
    def config(self) -> dict[str, Any]:
        """The model's config.json."""
        return self._json("config.json")

    def _json(self, name: str) -> dict[str, Any]:
        try:
            return dict(json.loads((self.model_dir / name).read_text()))
        except (OSError, ValueError) as error:
            raise InvalidInput(f"{self.model_dir / name} cannot be read: {error}") from None

    @cached_property
    def max_model_len(self) -> int:
        """Tokens of prompt plus completion that the model, as configured, takes."""
        try:
            longest = int(self.config["max_position_embeddings"])
            return min(longest, self.context or longest)
        except (KeyError, TypeError, ValueError):
            raise InvalidInput(f"{self.model_dir / 'config.json'} has no max_position_embeddings") from None

    @cached_property
    def eos_token_ids(self) -> list[int]:
        """Token ids that end a completion: generation_config.json first, as Hugging Face does."""
        has_generation = (self.model_dir / "generation_config.json").is_file()
        found = self._json("generation_config.json").get("eos_token_id") if has_generation else None
        found = self.config.get("eos_token_id") if found is None else found
        return [] if found is None else [int(i) for i in (found if isinstance(found, list) else [found])]

    @cached_property
    def vocab_size(self) -> int:
        """Ids are below this."""
        return int(self.config.get("vocab_size") or self._fast.get_vocab_size())

    @cached_property
    def hash(self) -> str:
        """16 hex digits of the tokenizer files and chat template: equal hashes give equal ids."""
        return hash_of(self.model_dir)

    def encode_text(self, text: str) -> list[int]:
        """Plain text as it is, with the special tokens that the tokenizer adds to any text."""
        return list(self._fast.encode(text).ids)

    def encode_continuation(self, text: str) -> list[int]:
        """Text that goes on behind other tokens: without special tokens."""
        return list(self._fast.encode(text, add_special_tokens=False).ids)

    def check_writes(self, text: str, where: str) -> None:
        """InvalidInput if the text as tokens is not the text: a character is unknown, or is read as something else."""
        read = self.decode(self.encode_continuation(text))
        if read != text:
            raise InvalidInput(f"{where}: the model's tokenizer cannot write {text[:200]!r}, it becomes {read[:200]!r}")

    def encode_messages(self, messages: list[dict[str, Any]]) -> tuple[list[int], str]:
        """Ids and text of chat messages under the model's template, with the generation prompt."""
        text = self.chat.render(messages, {}, date.today())
        return list(self._fast.encode(text, add_special_tokens=False).ids), text

    def decode(self, ids: list[int]) -> str:
        """Text of ids, without special tokens (for people)."""
        return str(self._fast.decode(ids, skip_special_tokens=True))

    def check_prompt(self, ids: list[int], where: str) -> None:
        """InvalidInput if the prompt is empty, has unknown ids, or leaves no room for one token."""
        if not ids:
            raise InvalidInput(f"{where}: the prompt has no tokens")
        if len(ids) >= self.max_model_len:
            raise InvalidInput(
                f"{where}: the prompt has {len(ids)} tokens, the model's context is {self.max_model_len}"
            )
        if not 0 <= min(ids) <= max(ids) < self.vocab_size:
            raise InvalidInput(f"{where}: prompt_ids must lie in 0..{self.vocab_size - 1}")


def hash_of(model_dir: Path) -> str:
    """16 hex digits of a model's tokenizer files and chat template."""
    digest = sha256()
    for name in _HASHED_FILES:
        path = model_dir / name
        if path.is_file():
            digest.update(name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:16]
