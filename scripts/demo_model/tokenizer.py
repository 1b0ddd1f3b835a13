"""The demo models' tokenizer: one token per printable ASCII character, tab and newline, plus three special tokens."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from transformers import Qwen2Tokenizer

PAD, EOS, UNK = "<pad>", "<eos>", "<unk>"
SPECIAL = (PAD, EOS, UNK)
CHARACTERS = "\t\n" + "".join(chr(code) for code in range(32, 127))
PAD_ID, EOS_ID = 0, 1
VOCAB_SIZE = len(SPECIAL) + len(CHARACTERS)

# Turns are their text and a newline: a lone user turn "Compute 1+2+3." becomes the prompt the model was trained on.
CHAT_TEMPLATE = (
    "{% for message in messages %}{{ message['content'] | trim }}"
    "{% if message['role'] == 'assistant' %}{{ eos_token }}{% endif %}{{ '\\n' }}{% endfor %}"
)

_ID_OF = {character: len(SPECIAL) + index for index, character in enumerate(CHARACTERS)}


def encode(text: str) -> list[int]:
    """The same ids as the shipped tokenizer gives, faster: training encodes a new problem every few milliseconds."""
    return [_ID_OF[character] for character in text]


def decode(ids: Sequence[int]) -> str:
    """The text of ids, without the special ones."""
    return "".join(CHARACTERS[token - len(SPECIAL)] for token in ids if token >= len(SPECIAL))


def byte_level(character: str) -> str:
    """How byte-level BPE writes an ASCII character in its vocabulary: white space moves up by 256."""
    return character if character > " " else chr(256 + ord(character))


def build_tokenizer(max_length: int) -> "Qwen2Tokenizer":
    """Byte-level BPE without merges: one token a character, and exact decoding.

    AutoTokenizer gives every Qwen2 model a Qwen2Tokenizer, whatever its files say, so it is one from the start.
    Characters outside ASCII are dropped.
    """
    from transformers import Qwen2Tokenizer  # slow to import, and only saving needs it

    vocab = {token: index for index, token in enumerate(SPECIAL)}
    vocab |= {byte_level(character): index for character, index in _ID_OF.items()}
    tokenizer = Qwen2Tokenizer(
        vocab=vocab,
        merges=[],
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
    build_tokenizer(max_length).save_pretrained(folder)
