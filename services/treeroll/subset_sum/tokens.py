"""The family's tokenizer: digits, signs and the words of its solutions are one token each."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from transformers import Qwen2Tokenizer

PAD, EOS, UNK = "<pad>", "<eos>", "<unk>"
PAD_ID, EOS_ID = 0, 1
CHARACTERS: Final = "\t\n" + "".join(chr(code) for code in range(32, 127))
# Each begins with a character with which no other part of a text does: a capital, a space, a sign before a new line.
WORDS: Final = (
    "Pick", "Given", "Up", "Sums", "Total", "Add", "Drop", "Swap", "\\boxed", ";\n", ".\n",
    " from", " for", " take", " skip", " sum", " rest", " total", " good", " short", " over",
)  # fmt: skip
# Turns are their text and a newline: a lone user turn "Pick from:... for:30-34." becomes the prompt trained on.
CHAT_TEMPLATE: Final = (
    "{% for message in messages %}{{ message['content'] | trim }}"
    "{% if message['role'] == 'assistant' %}{{ eos_token }}{% endif %}{{ '\\n' }}{% endfor %}"
)


def _vocabulary() -> tuple[dict[str, int], list[tuple[str, str]]]:
    """Tokens as byte-level BPE writes them, and the merges that make each word, character by character."""
    vocabulary = {token: index for index, token in enumerate((PAD, EOS, UNK, *map(_byte_level, CHARACTERS)))}
    merges = []
    for word in map(_byte_level, WORDS):
        for end in range(1, len(word)):
            if word[: end + 1] not in vocabulary:
                vocabulary[word[: end + 1]] = len(vocabulary)
                merges.append((word[:end], word[end]))
    return vocabulary, merges


def _byte_level(text: str) -> str:
    """How byte-level BPE writes ASCII: white space moves up by 256."""
    return "".join(character if character > " " else chr(256 + ord(character)) for character in text)


_VOCABULARY, _MERGES = _vocabulary()
VOCAB_SIZE: Final = len(_VOCABULARY)
_PARTS = re.compile("|".join([*map(re.escape, sorted(WORDS, key=len, reverse=True)), "."]), re.DOTALL)
_TEXTS = {index: token for token, index in _VOCABULARY.items() if index > 2}
_ASCII = {chr(256 + code): chr(code) for code in range(33)}


def encode(text: str) -> list[int]:
    """The ids of a prompt or solution of the family, as the shipped tokenizer gives them, and faster."""
    return [_VOCABULARY[_byte_level(part)] for part in _PARTS.findall(text)]


def decode(ids: Sequence[int]) -> str:
    """The text of ids, without the special ones."""
    joined = "".join(_TEXTS.get(token, "") for token in ids)
    return "".join(_ASCII.get(character, character) for character in joined)


def build_tokenizer(max_length: int) -> "Qwen2Tokenizer":
    """Byte-level BPE with a merge for each character of a word. Characters outside ASCII are dropped.

    AutoTokenizer gives every Qwen2 model a Qwen2Tokenizer, whatever its files say, so it is one from the start.
    """
    from transformers import Qwen2Tokenizer  # slow to import, and only saving needs it

    tokenizer = Qwen2Tokenizer(
        vocab=_VOCABULARY,
        merges=_MERGES,
        pad_token=PAD,
        eos_token=EOS,
        unk_token=UNK,
        model_max_length=max_length,
        padding_side="left",
        clean_up_tokenization_spaces=False,
    )
    tokenizer.chat_template = CHAT_TEMPLATE
    return tokenizer


def save_tokenizer(folder: Path, max_length: int) -> None:
    """Write the tokenizer's files to a model directory."""
    build_tokenizer(max_length).save_pretrained(folder)
