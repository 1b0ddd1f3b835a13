"""Sizes of a model and what ends its texts, wherever its family writes them."""

import json
import logging
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tests.support.llama_model import edit, make_llama

from treeroll.cli.preflight import Request, make_plan
from treeroll.cli.settings import rollout_settings
from treeroll.errors import InvalidInput
from treeroll.generator.config import GeneratorConfig
from treeroll.generator.fleet import endless, say_stop_ids, stop_ids
from treeroll.model import child, facts
from treeroll.model.facts import load_facts
from treeroll.results.directory import Mode
from treeroll.tokenizer import Tokenizer

SAID = {
    "tokenizer": "{}", "tokenizer_class": "LlamaTokenizer", "split_special_tokens": False, "bos_id": 1, "eos_id": 2,
    "special_tokens": {}, "pad_id": None, "context": 512, "vocab_size": 471,
}  # fmt: skip


@pytest.fixture
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory of which transformers says SAID."""
    folder = make_llama(tmp_path / "model", weights=False)
    monkeypatch.setattr(facts, "_answer", lambda *_: said(folder))
    return folder


def said(model: Path) -> dict[str, Any]:
    return {**SAID, "tokenizer": (model / "tokenizer.json").read_text()}


@pytest.mark.parametrize(
    ("generation", "config", "tokenizer", "stops"),
    [
        ([2, 468], {"eos_token_id": 2}, 2, [2, 468]),
        (None, {"eos_token_id": None}, 468, [468]),
        (None, {"eos_token_id": 2}, 468, [2, 468]),
        (2, {"eos_token_id": [2, 7]}, None, [2, 7]),
        (None, {"eos_token_id": None, "text_config": {"eos_token_id": [5]}}, None, [5]),
        (None, {"eos_token_id": None, "thinker_config": {"text_config": {"eos_token_id": 5}}}, 2, [5, 2]),
        (None, {"eos_token_id": None, "llm_config": {"eos_token_id": 0}}, None, [0]),
        (None, {"eos_token_id": None, "vision_config": {"eos_token_id": 9}}, 2, [2]),
    ],
)
def test_stop_ids_are_what_any_of_the_files_name(
    model: Path, monkeypatch: pytest.MonkeyPatch, generation: Any, config: dict[str, Any], tokenizer: Any, stops: Any
) -> None:
    monkeypatch.setattr(facts, "_answer", lambda folder, content: {**SAID, "eos_id": tokenizer})
    edit(model / "config.json", **config)
    edit(model / "generation_config.json", eos_token_id=generation)
    assert list(load_facts(model).stop_ids) == stops
    if generation is None:
        (model / "generation_config.json").unlink()
        assert list(load_facts(model).stop_ids) == stops


def test_stop_ids_that_the_model_has_not_are_left_out_with_a_word(
    model: Path, caplog: pytest.LogCaptureFixture
) -> None:
    edit(model / "generation_config.json", eos_token_id=[2, 471, -1])
    assert load_facts(model).stop_ids == (2,)
    assert [record.levelno for record in caplog.records] == [logging.WARNING] * 2
    assert "eos_token_id 471 of generation_config.json is no token of the model" in caplog.text


@pytest.mark.parametrize("wrong", ["</s>", [True], 2.0, {"a": 1}])
def test_stop_ids_that_are_none_are_refused(model: Path, wrong: Any) -> None:
    edit(model / "config.json", eos_token_id=wrong)
    with pytest.raises(InvalidInput, match=r"eos_token_id of config.json must be token ids, got"):
        load_facts(model)


@pytest.mark.parametrize(
    ("text", "context"),
    [
        ({"max_position_embeddings": 2048}, 2048),
        ({"max_position_embeddings": None, "n_positions": 1024}, 1024),
        ({"max_seq_len": 4096}, 4096),
        ({"seq_length": 8192, "max_position_embeddings": 32768}, 8192),
        ({"model_max_length": 131072, "max_position_embeddings": 8192}, 131072),
        ({"max_position_embeddings": 1024, "rope_parameters": {"rope_type": "linear", "factor": 4.0}}, 4096),
        ({"max_position_embeddings": 1024, "rope_parameters": {"rope_type": "yarn", "factor": 4.0}}, 1024),
        ({"max_position_embeddings": 1024, "rope_parameters": {"a": {"rope_type": "dynamic", "factor": 2.0}}}, 2048),
        (
            {
                "max_position_embeddings": 1024,
                "rope_parameters": {"rope_type": "linear", "factor": 8.0},
                "model_type": "gemma3_text",
            },
            1024,
        ),
        ({"hidden_size": 64}, None),
        ({"max_position_embeddings": 0, "n_positions": "many"}, None),
    ],
)
def test_the_context_is_what_vllm_makes_of_the_configuration(text: dict[str, Any], context: int | None) -> None:
    assert child._context(text) == context


FAMILIES: dict[str, dict[str, Any]] = {
    "gemma3": {"text_config": {"max_position_embeddings": 4096, "vocab_size": 999, "model_type": "gemma3_text"}},
    "mistral3": {"text_config": {"max_position_embeddings": 4096, "vocab_size": 999, "model_type": "mistral"}},
    "llama4": {"text_config": {"max_position_embeddings": 4096, "vocab_size": 999, "model_type": "llama4_text"}},
    "qwen3_vl": {"text_config": {"max_position_embeddings": 4096, "vocab_size": 999, "model_type": "qwen3_vl_text"}},
    "gpt2": {"n_positions": 4096, "vocab_size": 999},
    "of_tomorrow": {"max_position_embeddings": 4096, "vocab_size": 999},
    "of_tomorrow_with_eyes": {"text_config": {"max_position_embeddings": 4096, "vocab_size": 999}},
}


def test_context_and_vocabulary_are_found_in_every_family(tmp_path: Path) -> None:
    for family, values in FAMILIES.items():
        (tmp_path / family).mkdir()
        (tmp_path / family / "config.json").write_text(json.dumps({"model_type": family, **values}))
    script = (
        "import runpy, sys; sys.modules['torch'] = None\n"
        "child = runpy.run_path(sys.argv[1])\n"
        "for folder in sys.argv[2:]:\n"
        "    text = child['_text_config'](folder); print(child['_context'](text), text['vocab_size'])\n"
    )
    command = [sys.executable, "-c", script, child.__file__, *(str(tmp_path / family) for family in FAMILIES)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert dict(zip(FAMILIES, done.stdout.splitlines(), strict=True)) == dict.fromkeys(FAMILIES, "4096 999")


def test_a_model_that_does_not_say_its_context_needs_it_configured(
    model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(facts, "_answer", lambda folder, content: {**SAID, "context": None})
    with pytest.raises(InvalidInput, match=r"how many tokens the model takes; set generator.max_model_len"):
        _ = Tokenizer(model).max_model_len
    assert Tokenizer(model, 300).max_model_len == 300


def nobody() -> Path:
    raise RuntimeError("Could not determine home directory.")


def test_what_transformers_said_is_kept_until_a_file_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Path] = []
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(facts, "_ask", lambda folder: asked.append(folder) or SAID)
    model = make_llama(tmp_path / "model", weights=False)

    def load() -> int:
        facts._answer.cache_clear()  # as another process
        load_facts(model)
        return len(asked)

    assert [load(), load()] == [1, 1]
    edit(model / "config.json", vocab_size=999)
    assert load() == 2
    for kept in (tmp_path / "cache" / "treeroll" / "models").iterdir():
        kept.write_text("{")  # cut short
    assert load() == 3
    monkeypatch.setenv("XDG_CACHE_HOME", "/dev/null")
    assert load() == 4  # nowhere to keep it
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setattr(Path, "home", nobody)
    assert load() == 5  # a user without a home
    facts._answer.cache_clear()


def test_of_what_transformers_said_the_models_in_use_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(facts, "CACHED_MODELS", 2)
    monkeypatch.setattr(facts, "_ask", lambda folder: asked.append(folder.name) or SAID)
    for number, name in enumerate(("used", "left", "new")):
        edit(make_llama(tmp_path / name, weights=False) / "config.json", vocab_size=480 + number)
    for name in ("used", "left", "used", "new", "used", "left"):
        facts._answer.cache_clear()  # as another process
        load_facts(tmp_path / name)
        for age, kept in enumerate(sorted((tmp_path / "cache" / "treeroll" / "models").iterdir(), key=mtime)):
            os.utime(kept, (age, age))  # long ago: two within one tick of the clock would be of one age
    assert asked == ["used", "left", "new", "left"]
    facts._answer.cache_clear()


def mtime(path: Path) -> float:
    return path.stat().st_mtime


def test_a_process_of_its_own_says_what_one_that_is_forked_for_tests_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = make_llama(tmp_path / "model", weights=False)
    forked = facts._ask(model)
    monkeypatch.setattr(facts, "subprocess", subprocess)
    assert facts._ask(model) == forked


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("config.json", None, "is no model: it has no config.json"),
        ("tokenizer.json", None, "is no model: it has no tokenizer.json"),
        ("config.json", "{", "config.json cannot be read"),
        ("config.json", "[1]", "config.json cannot be read"),
        ("generation_config.json", "{", "generation_config.json cannot be read"),
    ],
)
def test_a_directory_that_is_no_model_is_refused(model: Path, name: str, content: str | None, sentence: str) -> None:
    if content is None:
        (model / name).unlink()
    else:
        (model / name).write_text(content)
    with pytest.raises(InvalidInput, match=sentence):
        load_facts(model)


@pytest.mark.parametrize("name", ["tokenizer.json", "config.json", "model.safetensors", "tokenizer.model"])
def test_a_clone_without_its_large_files_is_refused_with_what_to_do(model: Path, name: str) -> None:
    (model / name).write_text("version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 3475072\n")
    with pytest.raises(InvalidInput, match=rf"{name} is only Git LFS's pointer to it; run `git lfs pull` there"):
        load_facts(model)


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("tokenizer.json", "{}", "its tokenizer cannot be used, transformers cannot load it"),
        (
            "tokenizer_config.json",
            '{"tokenizer_class": "Own", "auto_map": {"AutoTokenizer": ["own.Own", null]}}',
            "its tokenizer cannot be used, transformers cannot load it",
        ),
        (
            "tokenizer_config.json",
            '{"tokenizer_class": "ByT5Tokenizer"}',
            r"'a' is \[100\] to transformers' ByT5Tokenizer and \[\d+\] to tokenizer.json; if it reads another file",
        ),
    ],
)
def test_a_tokenizer_that_transformers_does_not_load_is_refused_with_its_reason(
    tmp_path: Path, name: str, content: str, sentence: str
) -> None:
    model = make_llama(tmp_path / "model", weights=False)
    (model / name).write_text(content)
    with pytest.raises(InvalidInput, match=sentence):
        load_facts(model)


def test_a_service_says_what_ends_a_text(model: Path, caplog: pytest.LogCaptureFixture) -> None:
    config = GeneratorConfig(model=model, engine="simulated")
    with caplog.at_level(logging.INFO):
        say_stop_ids(config)
    assert f"{model} ends texts with 2 '</s>', 468 '<|end|>'" in caplog.text
    assert stop_ids(config) == {"": [2, 468]}
    assert endless(config) is None


def test_a_service_warns_of_a_model_whose_texts_nothing_ends(
    model: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(facts, "_answer", lambda folder, content: {**said(model), "eos_id": None})
    edit(model / "config.json", eos_token_id=None)
    edit(model / "generation_config.json", eos_token_id=None)
    config = GeneratorConfig(model=model, engine="simulated")
    say_stop_ids(config)
    assert endless_notes(model, capsys) == 1
    assert [endless_notes(model, capsys, **run) for run in ({"ignore_eos": True}, {"stop_token_ids": [5]})] == [0, 0]
    assert "so all paths run to max_tokens: set eos_token_id in its generation_config.json" in caplog.text
    assert endless(config) in caplog.text


def endless_notes(model: Path, capsys: pytest.CaptureFixture[str], **run: Any) -> int:
    """How often a rollout with this model says that nothing ends its texts, before it starts."""
    (model / "model.safetensors").touch()
    (model / "tasks.jsonl").write_text('{"prompt": "a"}')
    service: Any = {"generator": {"model": model, "engine": "simulated"}}
    settings = rollout_settings(None, [], {"run": {"recipe": "flat", **run}, **service})
    make_plan(Request(model / "tasks.jsonl", model / "out", Mode.REFUSE, None, None, False, settings, ()))
    return capsys.readouterr().err.count("which token ends a text")
