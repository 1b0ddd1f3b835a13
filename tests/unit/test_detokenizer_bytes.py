"""Text where the model writes bytes that are no character: it goes on, and branches that start anew say the same."""

import random
from pathlib import Path

import pytest
from tokenizers import Tokenizer, decoders, models

from treeroll.generator.detokenizer import BROKEN, Detokenizer

WORDS = ["▁", "▁a", "b", "▁the", "é", "中", "\n", "▁▁", "x", "▁of", "ing", "s", ".", ",", "▁1", "2", "{", "}", "="]
SPECIAL = ["<s>", "</s>", "<think>"]
SEQUENCES, LENGTH = 300, 20


@pytest.fixture(scope="module")
def fallback(tmp_path_factory: pytest.TempPathFactory) -> Detokenizer:
    """As Llama 2's: 256 tokens of single bytes, which are one text or none where they follow each other."""
    tokens = [*SPECIAL, *(f"<0x{byte:02X}>" for byte in range(256)), *WORDS]
    model = models.BPE({token: i for i, token in enumerate(tokens)}, [], byte_fallback=True, fuse_unk=True)
    tokenizer = Tokenizer(model)
    tokenizer.add_special_tokens(SPECIAL)
    steps = [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    tokenizer.decoder = decoders.Sequence(steps)
    return saved(tokenizer, tmp_path_factory)


@pytest.fixture(scope="module")
def byte_level(tmp_path_factory: pytest.TempPathFactory) -> Detokenizer:
    """As GPT-2's: bytes are letters of its alphabet, and each that is no character is broken by itself."""
    from tokenizers import pre_tokenizers

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE({letter: i for i, letter in enumerate(alphabet)}, []))
    tokenizer.decoder = decoders.ByteLevel()
    return saved(tokenizer, tmp_path_factory)


@pytest.fixture(params=["fallback", "byte_level"])
def detokenizer(request: pytest.FixtureRequest) -> Detokenizer:
    found: Detokenizer = request.getfixturevalue(request.param)
    return found


def saved(tokenizer: Tokenizer, factory: pytest.TempPathFactory) -> Detokenizer:
    folder: Path = factory.mktemp("bytes")
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "config.json").write_text('{"model_type": "llama"}')
    (folder / "tokenizer_config.json").write_text('{"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": "</s>"}')
    return Detokenizer(folder)


def ids(detokenizer: Detokenizer, *tokens: str | int) -> list[int]:
    """Of tokens, and of bytes given as numbers."""
    names = [f"<0x{token:02X}>" if isinstance(token, int) else token for token in tokens]
    return [detokenizer.tokenizer.token_to_id(name) for name in names]


@pytest.mark.parametrize(
    ("tokens", "text"),
    [
        ([0xE4, 0xB8, 0xAD, 0xE4, "b"], f"中{BROKEN}b"),
        ([0xE4, 0xB8, 0xAD, 0xE4, 0xB8, "b"], f"中{BROKEN * 2}b"),
        ([0x41, 0xFF, 0x42, "b"], f"A{BROKEN * 2}b"),
        ([0xE4, 0xB8, 0xAD, 0xE4, 0xB8, 0xAD, "b"], "中中b"),
        (["▁the", 0xC3, 0xA9, 0xFF, "▁of", "▁a"], f"theé{BROKEN} of a"),
        ([0xE4, 0xB8, 0xAD, 0xE4, "</s>", "▁a", "▁a"], f"中{BROKEN} a a"),
    ],
)
def test_bytes_that_are_no_character_are_replaced_and_the_text_goes_on(
    fallback: Detokenizer, tokens: list[str | int], text: str
) -> None:
    assert fallback.open([]).step(ids(fallback, *tokens)) == text


def test_a_token_that_the_tokenizer_does_not_know_gives_no_text(fallback: Detokenizer) -> None:
    known = ids(fallback, "▁a")
    assert fallback.open([]).step([*known, 5000, *known]) == "a a"


def test_whatever_tokens_come_text_goes_on_and_a_branch_that_starts_anew_says_the_same(
    detokenizer: Detokenizer,
) -> None:
    chance = random.Random(17)
    size = detokenizer.tokenizer.get_vocab_size()
    for _ in range(SEQUENCES):
        tokens = [chance.randrange(size) for _ in range(LENGTH)]
        running = detokenizer.open([])
        pieces = [running.step([token]) for token in tokens]
        for cut in range(LENGTH):
            assert detokenizer.open(tokens[:cut]).step(tokens[cut:]) == "".join(pieces[cut:]), (tokens, cut)
