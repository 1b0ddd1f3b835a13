"""Text of segments when characters straddle boundaries: a branch that starts anew says what the running one would."""

from pathlib import Path

import pytest
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

from treeroll.generator.detokenizer import Detokenizer

TEXT = "We find \\boxed{42} since ∠ABC = 90° — 完了 🎉 end"


@pytest.fixture(scope="module")
def detokenizer(tmp_path_factory: pytest.TempPathFactory) -> Detokenizer:
    """Byte-level BPE without merges: one token per byte, so that every character beyond ASCII can be split."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE({letter: i for i, letter in enumerate(alphabet)}, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    folder: Path = tmp_path_factory.mktemp("bytes")
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "config.json").write_text('{"model_type": "gpt2"}')
    (folder / "tokenizer_config.json").write_text('{"tokenizer_class": "PreTrainedTokenizerFast"}')
    return Detokenizer(folder)


def test_segments_of_a_running_branch_concatenate_to_the_text(detokenizer: Detokenizer) -> None:
    ids = detokenizer.tokenizer.encode(TEXT).ids
    for size in (1, 3, 7, 16):
        stream = detokenizer.open([])
        assert "".join(stream.step(ids[at : at + size]) for at in range(0, len(ids), size)) == TEXT


def test_a_new_stream_continues_exactly_as_the_running_one_wherever_it_is_cut(detokenizer: Detokenizer) -> None:
    ids = detokenizer.tokenizer.encode(TEXT).ids
    for cut in range(len(ids)):
        running = detokenizer.open([])
        before = running.step(ids[:cut])
        assert detokenizer.open(ids[:cut]).step(ids[cut:]) == running.step(ids[cut:])
        # All whole characters before the cut belong to the segment before it.
        assert TEXT.startswith(before)
        assert len(before.encode()) > cut - 4
