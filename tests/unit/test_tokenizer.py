"""Ids are those of a trainer's AutoTokenizer, whatever the files of a model directory carry beside its vocabulary."""

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.support.auto_tokenizer import auto_ids
from tests.support.llama_model import BOS, EOS, edit, make_llama
from tokenizers import processors

from treeroll.coordinator.prompts import ChatSettings, prompt_of
from treeroll.errors import InvalidInput
from treeroll.generator.detokenizer import Detokenizer
from treeroll.model import facts
from treeroll.model.facts import load_facts
from treeroll.pb.v1 import rollout_pb2 as api
from treeroll.tokenizer import Tokenizer, _say_once

TEXTS = (
    "The answer is 42.",
    " " + "once upon a time " * 100,
    "中文 naïve 🎉\n\n  indented",
    "<|user|>\nhi<|end|>\n<|assistant|>\n",
    "<think>a</think>",
    "a </s> b",
)
CHAT = [{"role": "user", "content": "Compute 3+5. <think>"}]
TRUNCATION = {"direction": "Right", "max_length": 16, "strategy": "LongestFirst", "stride": 0}
PADDING = {
    "strategy": {"Fixed": 300}, "direction": "Left", "pad_to_multiple_of": None, "pad_id": 0, "pad_type_id": 0,
    "pad_token": "<unk>",
}  # fmt: skip
THINK = {"<think>": 469, "</think>": 470}
Change = Callable[[Path], None]


def set_in_vocabulary(**changes: Any) -> Change:
    """Change the model of tokenizer.json."""

    def change(folder: Path) -> None:
        path = folder / "tokenizer.json"
        edit(path, model={**json.loads(path.read_text())["model"], **changes})

    return change


def set_in(name: str, **changes: Any) -> Change:
    return lambda folder: edit(folder / name, **changes)


def add_tokens_in_config(folder: Path) -> None:
    known = json.loads((folder / "tokenizer.json").read_text())["added_tokens"]
    added = {token["id"]: token for token in known}
    added |= {number: {**known[0], "content": token, "special": False} for token, number in THINK.items()}
    decoder = {str(number): {key: token[key] for key in token if key != "id"} for number, token in added.items()}
    edit(folder / "tokenizer_config.json", added_tokens_decoder=decoder)


# What a directory may carry, by name; those that add tokens of thinking lack them in tokenizer.json.
CHANGES: dict[str, tuple[bool, list[Change]]] = {
    "as saved": (True, []),
    "truncation, padding and dropout": (
        True, [set_in("tokenizer.json", truncation=TRUNCATION, padding=PADDING), set_in_vocabulary(dropout=0.5)],
    ),
    "added_tokens.json": (False, [set_in("added_tokens.json", **THINK)]),
    "added_tokens_decoder": (False, [add_tokens_in_config]),
    "a class that takes the file as it is": (
        True, [set_in("tokenizer_config.json", tokenizer_class="PreTrainedTokenizerFast", split_special_tokens=True)],
    ),
}  # fmt: skip


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("models")
    made = {}
    for number, (name, (thinking, changes)) in enumerate(CHANGES.items()):
        made[name] = make_llama(folder / str(number), thinking=thinking)
        for change in changes:
            change(made[name])
    return made


@pytest.fixture(scope="module")
def expected(models: dict[str, Path]) -> dict[Path, list[list[int]]]:
    return auto_ids(dict.fromkeys(models.values(), TEXTS), {folder: [CHAT] for folder in models.values()})


@pytest.mark.parametrize("name", CHANGES)
def test_ids_are_those_of_auto_tokenizer(name: str, models: dict[str, Path], expected: dict[Path, Any]) -> None:
    tokenizer = Tokenizer.load(models[name])
    *texts, chat = expected[models[name]]
    assert [tokenizer.encode_text(text) for text in TEXTS] == texts
    assert tokenizer.encode_messages(CHAT, {}, date.today())[0] == chat
    assert len(texts[1]) > 100
    assert texts[0][0] == BOS


@pytest.mark.parametrize("name", ["added_tokens.json", "added_tokens_decoder"])
def test_added_tokens_are_tokens_wherever_they_are_named(name: str, models: dict[str, Path]) -> None:
    ids = Tokenizer.load(models[name]).encode_text("<think>a</think>")
    assert [ids[1], ids[-1]] == list(THINK.values())


def test_a_token_that_the_model_has_no_row_for_is_refused_by_name(models: dict[str, Path]) -> None:
    tokenizer = Tokenizer.load(models["added_tokens.json"])
    with pytest.raises(InvalidInput, match=r"task 't': the prompt has the token 469 '<think>', but"):
        tokenizer.check_prompt(tokenizer.encode_text("<think>"), "task 't'")


@pytest.mark.parametrize("name", CHANGES)
def test_replicas_decode_with_the_same_tokenizer(name: str, models: dict[str, Path]) -> None:
    detokenizer, tokenizer = Detokenizer(models[name]), Tokenizer.load(models[name])
    assert detokenizer.hash == tokenizer.hash
    _, *ids = tokenizer.encode_text("Once upon a time, 中")
    assert detokenizer.open([]).step(ids) == "Once upon a time, 中"


def with_around(tokenizer: Tokenizer, single: str) -> Tokenizer:
    """The same tokenizer, but for what it puts around a text; `$A` is the text."""
    spec = json.loads(load_facts(tokenizer.model_dir).tokenizer_json)
    known = {token["content"]: token["id"] for token in spec["added_tokens"]}
    post = processors.TemplateProcessing(single=single, special_tokens=list(known.items()))
    spec["post_processor"] = json.loads(post.__getstate__())
    changed = Tokenizer(tokenizer.model_dir)
    changed.__dict__["_facts"] = replace(load_facts(tokenizer.model_dir), tokenizer_json=json.dumps(spec))
    return changed


@pytest.mark.parametrize(
    ("around", "before", "after"),
    [
        ("<s> $A", [BOS], []),
        ("$A", [], []),
        ("<s> $A </s>", [BOS], []),
        ("$A </s>", [], []),
        ("$A <|end|> </s>", [], []),  # both end a turn of this model
        ("<|user|> <s> $A", [466, BOS], []),
        ("<s> $A <|assistant|>", [BOS], [467]),
    ],
)
def test_a_prompt_has_no_eos_behind_it_and_no_special_token_before_it_twice(
    models: dict[str, Path], around: str, before: list[int], after: list[int]
) -> None:
    tokenizer = with_around(Tokenizer.load(models["as saved"]), around)
    text = tokenizer.encode_text("The answer")[len(before) :]
    assert tokenizer.encode_text("The answer") == [*before, *text]
    assert text[len(text) - len(after) :] == after
    brought = "<s>" if BOS in before else ""
    again = tokenizer.encode_text(f"{brought}<|user|>\nhi<|end|>\n")
    assert again[: len(before) + 1] == [*before, 466]
    assert again.count(BOS) == before.count(BOS)
    assert tokenizer.encode_text("") == []
    assert tokenizer.encode_text("<s><s>x").count(BOS) == 2  # a text's own are its own affair


def test_a_rendered_chat_as_text_has_the_ids_of_its_messages_and_that_is_said_once(
    models: dict[str, Path], caplog: pytest.LogCaptureFixture
) -> None:
    _say_once.cache_clear()
    tokenizer = Tokenizer.load(models["as saved"])
    ids, text = tokenizer.encode_messages(CHAT, {}, date.today())
    assert tokenizer.encode_text(text) == tokenizer.encode_text(text) == ids
    assert len([record for record in caplog.records if "prompts that begin with '<s>'" in record.getMessage()]) == 1


def without_bytes(tokenizer: Tokenizer, **unknown: Any) -> Tokenizer:
    """The same tokenizer without byte fallback, as older ones are: it leaves out what it does not know, or says so."""
    spec = json.loads(load_facts(tokenizer.model_dir).tokenizer_json)
    spec["model"] |= {"byte_fallback": False, "unk_token": None, **unknown}
    changed = Tokenizer(tokenizer.model_dir)
    changed.__dict__["_facts"] = replace(load_facts(tokenizer.model_dir), tokenizer_json=json.dumps(spec))
    return changed


@pytest.mark.parametrize("unknown", [{}, {"unk_token": "<unk>"}], ids=["left out", "unknown"])
@pytest.mark.parametrize("text", ["Compute 3\u20685.", "\U0001f389", "\u4e2d\u6587 and more"])
def test_a_character_that_the_tokenizer_does_not_know_is_told_once(
    models: dict[str, Path], unknown: dict[str, str], text: str, caplog: pytest.LogCaptureFixture
) -> None:
    tokenizer = without_bytes(Tokenizer.load(models["as saved"]), **unknown)
    tokenizer.encode_text("Compute 3+5.\n\n  then")
    assert not caplog.records
    tokenizer.encode_text(text)
    tokenizer.encode_text(text)
    tokenizer.encode_messages([{"role": "user", "content": text}], {}, date.today())
    (record,) = caplog.records
    lost = min(character for character in text if not character.isascii())
    assert f"its tokenizer does not know {lost!r}, prompts lose it" in record.getMessage()


def test_a_tokenizer_with_bytes_knows_every_character(
    models: dict[str, Path], caplog: pytest.LogCaptureFixture
) -> None:
    tokenizer = Tokenizer.load(models["as saved"])
    for text in TEXTS:
        tokenizer.encode_text(text)
    assert "does not know" not in caplog.text


def test_special_tokens_stay_in_the_text_but_for_those_that_end_it(models: dict[str, Path]) -> None:
    tokenizer, detokenizer = Tokenizer.load(models["as saved"]), Detokenizer(models["as saved"])
    think, done, end = 469, 470, 468
    ids = [think, *tokenizer.encode_continuation("a b"), done, *tokenizer.encode_continuation(" 7"), end]
    assert detokenizer.open(tokenizer.encode_text("Compute")).step(ids) == "<think>a b</think> 7"
    assert tokenizer.decode_completion([*ids, EOS, 0]) == "<think>a b</think> 7"  # 0 is this model's padding
    for cut in range(len(ids)):
        whole = detokenizer.open(ids[:cut]).step(ids[cut:])
        assert whole == detokenizer.open([]).step(ids).removeprefix(detokenizer.open([]).step(ids[:cut]))


def test_the_text_of_a_prompt_is_the_same_in_all_its_forms(models: dict[str, Path]) -> None:
    tokenizer = Tokenizer.load(models["as saved"])
    ids, text = tokenizer.encode_messages(CHAT, {}, date.today())
    sent = np.asarray(ids, "<i4").tobytes()
    messages = json.dumps(CHAT)
    for task in (api.Task(prompt_ids=sent), api.Task(messages_json=messages), api.Task(text=text)):
        prompt = prompt_of(task, tokenizer, ChatSettings({}, date.min), "task")
        assert (prompt.ids, prompt.text) == (ids, text)


def test_inserted_text_that_the_tokenizer_can_write_in_the_middle_of_a_text_passes(models: dict[str, Path]) -> None:
    tokenizer = Tokenizer.load(models["as saved"])
    for text in ("so", " so", "\n[2 calls left]\n", "</s>=4", "<think>", "中"):
        tokenizer.check_writes(text, "policy")


@pytest.fixture
def unasked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Transformers says the same of every directory."""
    said = {"tokenizer": "{}", "tokenizer_class": "LlamaTokenizer", "split_special_tokens": False, "special_tokens": {}}
    numbers = {"bos_id": BOS, "eos_id": EOS, "pad_id": None, "context": 512, "vocab_size": 471}
    monkeypatch.setattr(facts, "_answer", lambda folder, content: {**said, **numbers})


@pytest.mark.parametrize(
    "name",
    [
        "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "tekken.json",
        "chat_template.jinja", "chat_template.json", "additional_chat_templates/tools.jinja", "tokenizer.model",
        "vocab.json", "vocab.txt", "merges.txt", "qwen.tiktoken",
    ],
)  # fmt: skip
def test_every_file_that_may_change_ids_or_template_is_in_the_hash(tmp_path: Path, name: str, unasked: None) -> None:
    folder = make_llama(tmp_path / "model", weights=False)
    plain = load_facts(folder).hash
    assert load_facts(make_llama(tmp_path / "again", weights=False)).hash == plain
    path = folder / name
    path.parent.mkdir(exist_ok=True)
    path.write_text((path.read_text() if path.exists() else "{}") + " ")
    assert load_facts(folder).hash != plain
