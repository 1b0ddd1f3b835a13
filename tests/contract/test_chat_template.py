"""Prompts from messages are those of a trainer's AutoTokenizer, whatever class a model's tokenizer has."""

from datetime import date
from pathlib import Path
from typing import Any

import pytest
from tests.support.chat_models import CHATML, chat_model

from treeroll.chat.template import ChatTemplate

NAMES = "bos_token", "eos_token", "unk_token", "pad_token"
ALL = CHATML + "".join(f"{{{{ {name} }}}}" for name in NAMES)
USER = {"role": "user", "content": "hi"}


@pytest.mark.slow  # AutoTokenizer imports torch
@pytest.mark.parametrize("drop", [(), NAMES, ("eos_token",)])
@pytest.mark.parametrize("kind", ["Qwen2Tokenizer", "LlamaTokenizerFast", "PreTrainedTokenizerFast", "GemmaTokenizer"])
@pytest.mark.parametrize("last", [USER, {"role": "assistant", "content": "Let me "}])
def test_prompts_are_those_of_a_trainer(kind: str, drop: tuple[str, ...], last: dict[str, Any], tmp_path: Path) -> None:
    from transformers import AutoTokenizer

    model = chat_model(tmp_path, ALL, {"tokenizer_class": kind}, drop)
    goes_on = last["role"] == "assistant"
    theirs = AutoTokenizer.from_pretrained(str(model)).apply_chat_template(
        [USER, last], tokenize=False, add_generation_prompt=not goes_on, continue_final_message=goes_on
    )
    assert ChatTemplate(model).render([USER, last], {}, date.today()) == theirs
