"""The demo model that calls a tool: its call format from end to end, and the files that are shipped."""

import json
import random
import re
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "scripts"))

from demo_model.completion import Completion  # noqa: E402
from demo_model.rows import IGNORED, make_row  # noqa: E402
from demo_model.tokenizer import EOS_ID, encode  # noqa: E402
from demo_model.tool_calls import Piece, solve_with_calls, training_example_with_calls  # noqa: E402

from treeroll.demo import MODEL_DIR, TOOL_MODEL_DIR, arithmetic  # noqa: E402
from treeroll.tokenizer import Tokenizer  # noqa: E402
from treeroll.tools import registry  # noqa: E402

CALCULATOR = registry.get("calculator")
LEVELS = [*arithmetic.LEVELS.values(), *arithmetic.ONE_STEP]


class Coin(random.Random):
    """Always one side: below CALL_SHARE is a call."""

    def __init__(self, side: float) -> None:
        super().__init__(0)
        self.side = side

    def random(self) -> float:
        return self.side


def text_of(pieces: list[Piece]) -> str:
    return "".join(piece.text for piece in pieces)


def examples(count: int) -> list[tuple[str, list[Piece]]]:
    rng = random.Random(0)
    return [training_example_with_calls(level, CALCULATOR, rng) for level in LEVELS for _ in range(count)]


CHAIN: arithmetic.Tokens = [112, "+", 4, "*", 60, "-", 30]


def test_a_solution_may_call_at_every_step() -> None:
    assert text_of(solve_with_calls(CHAIN, CALCULATOR, Coin(0.0))) == (
        "<4*60>=240\nSo 112+240-30.\n<112+240>=352\nSo 352-30.\n<352-30>=322\nThe answer is \\boxed{322}."
    )


def test_a_solution_always_calls_for_small_numbers_and_may_do_the_others_itself() -> None:
    pieces = solve_with_calls(CHAIN, CALCULATOR, Coin(0.99))
    assert [(piece.text, piece.observed) for piece in pieces] == [
        ("<4*60>", False),
        ("=240\n", True),
        ("So 112+240-30.\n112+240=352\nSo 352-30.\n352-30=322\nThe answer is \\boxed{322}.", False),
    ]


def test_observations_in_training_are_the_tools_own() -> None:
    calls = 0
    for _, pieces in examples(20):
        for index, piece in enumerate(pieces):
            ends_call = piece.text.endswith(CALCULATOR.call_end)
            assert ends_call == (index + 1 < len(pieces) and pieces[index + 1].observed)
            if piece.observed:
                calls += 1
                assert piece.text == CALCULATOR.answer(text_of(pieces[:index]))
                assert not piece.text.startswith("=error")
            else:
                assert piece.text.count(CALCULATOR.call_end) == ends_call  # a call ends nowhere else
    assert calls > 100


def test_training_shows_calls_and_own_work_and_the_right_answer() -> None:
    large = r"[0-9*+-]*[0-9]{3}[0-9*+-]*"
    called = own = 0
    for prompt, pieces in examples(20):
        text = text_of(pieces)
        called += len(re.findall(rf"^<{large}>", text, re.MULTILINE))
        own += len(re.findall(rf"^{large}=", text, re.MULTILINE))
        expression = prompt.removeprefix("Compute ").removesuffix(".\n")
        value = CALCULATOR.answer(f"<{expression}>")[1:-1]
        assert text.endswith(f"The answer is \\boxed{{{value}}}.")
    assert 0.4 < called / (called + own) < 0.6


def test_training_with_calls_never_shows_a_held_out_expression() -> None:
    shown = 0
    for prompt, pieces in examples(50):
        for expression in re.findall(r"(?:Compute |So )([0-9+*-]+)\.\n", prompt + text_of(pieces)):
            if len(re.findall(r"\d+", expression)) >= arithmetic.MIN_TASK_TERMS:
                shown += 1
                assert not arithmetic.is_held_out(expression)
    assert shown > 500


def test_the_loss_skips_the_prompt_and_the_observations() -> None:
    prompt, pieces = "Compute 4*6.\n", solve_with_calls([4, "*", 6], CALCULATOR, Coin(0.0))
    ids, labels = make_row(prompt, pieces)
    assert ids == [*encode(prompt + "<4*6>=24\nThe answer is \\boxed{24}."), EOS_ID]
    ignored = [IGNORED] * len(encode(prompt)), [IGNORED] * len("=24\n")
    assert labels == [*ignored[0], *encode("<4*6>"), *ignored[1], *encode("The answer is \\boxed{24}."), EOS_ID]


def test_a_solution_grows_again_when_only_the_models_part_is_sampled() -> None:
    for prompt, pieces in examples(3):
        wanted, _ = make_row("", pieces)
        sampled = [
            token for piece in pieces for token in ([0] * len(piece.text) if piece.observed else encode(piece.text))
        ]
        completion = Completion()
        for token in [*sampled, EOS_ID]:
            completion.append(token, CALCULATOR)
        assert completion.ids == wanted, prompt
        assert completion.calls == sum(piece.observed for piece in pieces)


def test_without_a_tool_nothing_is_answered() -> None:
    completion = Completion()
    for token in encode("<4*6>!"):
        completion.append(token, None)
    assert (completion.ids, completion.calls) == (encode("<4*6>!"), 0)


def test_both_models_have_one_tokenizer() -> None:
    ours, first = Tokenizer.load(TOOL_MODEL_DIR), Tokenizer.load(MODEL_DIR)
    assert ours.hash == first.hash
    assert ours.eos_token_ids == first.eos_token_ids == [EOS_ID]


def test_a_call_ends_with_one_token_and_observations_are_the_shipped_tokenizers() -> None:
    tokenizer = Tokenizer.load(TOOL_MODEL_DIR)
    assert len(tokenizer.encode_text(CALCULATOR.call_end)) == 1
    for text in ("<12*7>", "<oops>", "<1", ">"):
        observation = CALCULATOR.answer(text)
        assert tokenizer.encode_text(observation) == encode(observation)
        assert tokenizer.decode(encode(observation)) == observation


@pytest.mark.parametrize(
    "name", ["architectures", "model_type", "vocab_size", "max_position_embeddings", "eos_token_id"]
)
def test_both_models_load_alike(name: str) -> None:
    configs = [json.loads((folder / "config.json").read_text()) for folder in (TOOL_MODEL_DIR, MODEL_DIR)]
    assert configs[0][name] == configs[1][name]


def test_the_shipped_model_is_small() -> None:
    assert sum(file.stat().st_size for file in TOOL_MODEL_DIR.iterdir()) < 2_000_000
