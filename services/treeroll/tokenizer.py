"""Prompts to token ids, once, in one place. Completions are never tokenised again.

Ids are those of transformers' AutoTokenizer, see `treeroll.model.facts`; chat messages are made text by
`treeroll.chat.template`.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from functools import cached_property, lru_cache
from hashlib import sha256
from pathlib import Path
from typing import Any

from treeroll.chat.template import ChatTemplate
from treeroll.errors import InvalidInput
from treeroll.model.encoders import PlainEncoder, prompt_encoder
from treeroll.model.facts import ModelFacts, load_facts

log = logging.getLogger(__name__)

# A prompt has fewer characters for each of its tokens, whatever it says.
CHARS_PER_TOKEN = 16


@dataclass(frozen=True)
class Tokenizer:
    """The tokenizer of a model directory in Hugging Face layout."""

    model_dir: Path
    # Context that the engine is configured for, if it is less than the model's.
    context: int | None = None
    # Jinja source that stands in for the model's own chat template.
    chat_template: Path | None = None

    @classmethod
    def load(cls, model_dir: Path | str, context: int | None = None, chat_template: Path | None = None) -> "Tokenizer":
        """Check that the directory is a model; InvalidInput says what is missing."""
        tokenizer = cls(Path(model_dir), context, chat_template)
        _ = tokenizer.max_model_len, tokenizer._fast
        if not any(tokenizer.model_dir.glob("*.safetensors")):
            raise InvalidInput(f"model path {model_dir} is no model: it has no .safetensors weights")
        return tokenizer

    @cached_property
    def _facts(self) -> ModelFacts:
        return load_facts(self.model_dir)

    @cached_property
    def _fast(self) -> Any:
        return prompt_encoder(self._facts)

    @cached_property
    def _plain(self) -> PlainEncoder:
        return PlainEncoder(self._facts)

    @cached_property
    def chat(self) -> ChatTemplate:
        """The model's chat template, or what stands in for it."""
        return ChatTemplate(self.model_dir, self.chat_template)

    @cached_property
    def max_model_len(self) -> int:
        """Tokens of prompt plus completion that the model, as configured, takes."""
        longest = self._facts.context or self.context
        if longest is None:
            raise InvalidInput(
                f"{self.model_dir / 'config.json'} does not say how many tokens the model takes; set "
                f"generator.max_model_len"
            )
        return min(longest, self.context or longest)

    @property
    def eos_token_ids(self) -> list[int]:
        """Token ids that end a completion: those of generation_config.json, config.json and the tokenizer."""
        return list(self._facts.stop_ids)

    @property
    def pad_token_id(self) -> int | None:
        """Padding, if the tokenizer has any."""
        return self._facts.pad_id

    @cached_property
    def vocab_size(self) -> int:
        """Ids are below this."""
        return self._facts.vocab_size or int(self._fast.get_vocab_size())

    @property
    def hash(self) -> str:
        """16 hex digits of the tokenizer files and chat template: equal hashes give equal ids."""
        return self._facts.hash

    @cached_property
    def prompt_hash(self) -> str:
        """The same, and of the file that stands in for the chat template: equal hashes give equal prompts."""
        if self.chat_template is None:
            return self.hash
        return sha256(f"{self.hash} {self.chat.sources}".encode()).hexdigest()[:16]

    def encode_text(self, text: str) -> list[int]:
        """Ids of a prompt as AutoTokenizer reads it, but without an EOS behind it or a second BOS before it."""
        encoding = self._fast.encode(text)
        self._tell_lost(text)
        own = [at for at, sequence in enumerate(encoding.sequence_ids) if sequence is not None]
        if not own:
            return []  # all of it is the tokenizer's
        ids, first, end = encoding.ids, own[0], own[-1] + 1
        before, bare, after = ids[:first], ids[first:end], ids[end:]
        brought = next((n for n in range(len(before), 0, -1) if before[-n:] == bare[:n]), 0)
        if brought:
            name = self.decode(before[-brought:])
            _say_once(f"{self.model_dir}: prompts that begin with {name!r} themselves do not get the tokenizer's too")
        stops = self._facts.stop_ids
        return [*before[: len(before) - brought], *bare, *(token for token in after if token not in stops)]

    def encode_continuation(self, text: str) -> list[int]:
        """Text of others that goes on behind other tokens: special tokens in it are spelt out."""
        return self._plain.encode(text)

    def check_writes(self, text: str, where: str) -> None:
        """InvalidInput if the text as tokens is not the text: a character is unknown, or is read as something else."""
        before = self._plain.encode(".")  # as it is behind other tokens
        read = self.decode([*before, *self._plain.encode(text)]).removeprefix(self.decode(before))
        if read != text:
            raise InvalidInput(f"{where}: the model's tokenizer cannot write {text[:200]!r}, it becomes {read[:200]!r}")

    def encode_messages(
        self, messages: Sequence[Mapping[str, Any]], kwargs: Mapping[str, Any], day: date
    ) -> tuple[list[int], str]:
        """Ids and text of chat messages, see `ChatTemplate.render`."""
        text = self.chat.render(messages, kwargs, day)
        self.check_size(len(text), "messages")
        self._tell_lost(text)
        return list(self._fast.encode(text, add_special_tokens=False).ids), text

    def _tell_lost(self, text: str) -> None:
        """Say, once, that prompts have characters without a token, or with one that stands for anything.

        Their ids are AutoTokenizer's all the same, so they are no error; but the model reads another text.
        """
        if self._writes_all or self._lost:
            return
        nothing: tuple[list[int | None], ...] = ([], [self._plain.unknown_id])
        for character in sorted(set(text) - self._known):
            if not character.isspace() and self._plain.encode(character) in nothing:
                self._lost.append(character)
                log.warning("%s: its tokenizer does not know %r, prompts lose it", self.model_dir, character)
                return
            self._known.add(character)

    @cached_property
    def _writes_all(self) -> bool:
        """Whether the tokenizer has tokens for any character, as those with bytes have."""
        probe = "\U00013080\ue000"  # nobody has words with these
        return probe in self.decode(self._plain.encode(probe))

    @cached_property
    def _known(self) -> set[str]:
        """Characters of prompts that have tokens."""
        return set()

    @cached_property
    def _lost(self) -> list[str]:
        """The first character of a prompt that has none, once there was one."""
        return []

    def decode(self, ids: list[int]) -> str:
        """Text of ids with the names of special tokens, as it is in rendered messages."""
        return str(self._fast.decode(ids, skip_special_tokens=False))

    def decode_completion(self, ids: list[int]) -> str:
        """The same of what a model has written, without what ends it and padding."""
        return self.decode([token for token in ids if token not in self._facts.silent_ids])

    def describe(self, token_id: int) -> str:
        """An id with its name in the tokenizer, if it has one."""
        name = self._fast.id_to_token(token_id) if token_id >= 0 else None
        return f"{token_id}" if name is None else f"{token_id} {name!r}"

    def check_size(self, characters: int, where: str) -> None:
        """InvalidInput for a prompt of so many characters that cannot fit: to tokenise it could take all memory."""
        if characters > CHARS_PER_TOKEN * self.max_model_len:
            raise InvalidInput(
                f"{where}: the prompt has {characters:,} characters, and the model's context has {self.max_model_len} "
                "tokens"
            )

    def check_length(self, tokens: int, where: str) -> None:
        """InvalidInput for a prompt of so many tokens that leaves no room for one."""
        if tokens >= self.max_model_len:
            raise InvalidInput(f"{where}: the prompt has {tokens} tokens, the model's context is {self.max_model_len}")

    def check_prompt(self, ids: list[int], where: str) -> None:
        """InvalidInput if the prompt is empty, has unknown ids, or leaves no room for one token."""
        if not ids:
            raise InvalidInput(f"{where}: the prompt has no tokens")
        self.check_length(len(ids), where)
        if not 0 <= min(ids) <= max(ids) < self.vocab_size:
            wrong = next(token for token in ids if not 0 <= token < self.vocab_size)
            raise InvalidInput(
                f"{where}: the prompt has the token {self.describe(wrong)}, but ids of the model lie in "
                f"0..{self.vocab_size - 1}"
            )


@lru_cache(maxsize=256)
def _say_once(sentence: str) -> None:
    log.warning(sentence)
