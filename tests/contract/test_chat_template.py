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


@pytest.mark.slow
@pytest.mark.parametrize(
    ("files", "inline", "found"),
    [
        ({}, None, {}),
        ({}, CHATML, {"default": CHATML}),
        ({"chat_template.jinja": CHATML}, "another", {"default": CHATML}),
        (
            {},
            [{"name": "default", "template": CHATML}, {"name": "rag", "template": "r"}],
            {"default": CHATML, "rag": "r"},
        ),
        (
            {"chat_template.jinja": CHATML, "additional_chat_templates/rag.jinja": "r"},
            None,
            {"default": CHATML, "rag": "r"},
        ),
    ],
)
def test_templates_are_found_where_transformers_keeps_them(
    files: dict[str, str], inline: Any, found: dict[str, str], tmp_path: Path
) -> None:
    model = chat_model(tmp_path, None, {} if inline is None else {"chat_template": inline})
    for name, source in files.items():
        (model / name).parent.mkdir(exist_ok=True)
        (model / name).write_text(source)
    from transformers import AutoTokenizer

    theirs = AutoTokenizer.from_pretrained(str(model)).chat_template
    assert ChatTemplate(model).sources == found
    assert (theirs if isinstance(theirs, dict) else {"default": theirs} if theirs else {}) == found
