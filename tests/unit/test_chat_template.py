"""Chat templates: what they make of messages, and who is to blame when they make nothing."""

import json
import subprocess
import sys
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from tests.support.chat_models import CHATML, chat_model

from treeroll.chat.template import ChatTemplate
from treeroll.errors import InvalidInput

DAY = date(2026, 2, 3)
HI = {"role": "user", "content": "hi"}


def render(template: str | ChatTemplate, messages: list[dict[str, Any]], folder: Path, **kwargs: Any) -> str:
    chosen = ChatTemplate(chat_model(folder, template)) if isinstance(template, str) else template
    return chosen.render(messages, kwargs, DAY)


def assistant(text: str, **more: Any) -> dict[str, Any]:
    return {"role": "assistant", "content": text, **more}


# -- continuing the last message -------------------------------------------------------------------------

TRIMS = CHATML.replace("message['content']", "(message['content'] | trim)")
# Puts empty thoughts before what has none, as templates of thinking models do.
THINKS = CHATML.replace(
    "+ message['content']",
    "+ ('<think></think>\n' if message['role'] == 'assistant' and '</think>' not in message['content'] else '')"
    " + message['content']",
)
# Keeps of an assistant's text what comes after its thoughts.
FORGETS = CHATML.replace("message['content']", "message['content'].split('</think>')[-1]")
IGNORES = "{% for message in messages if message['role'] == 'user' %}{{ message['content'] }}{% endfor %}"


@pytest.mark.parametrize("role", ["user", "system", "tool", "ipython"])
def test_any_other_last_message_is_answered_in_a_new_one(role: str, tmp_path: Path) -> None:
    assert render(CHATML, [{"role": role, "content": "hi"}], tmp_path) == f"[{role}]hi[end][assistant]"


@pytest.mark.parametrize(
    ("template", "text", "end"),
    [
        (CHATML, "Let me", "[assistant]Let me"),
        (CHATML, "Let me ", "[assistant]Let me "),
        (CHATML, "hi", "[assistant]hi"),
        (CHATML, "[end]", "[assistant][end]"),
        (CHATML, "<think>\nLet", "[assistant]<think>\nLet"),
        (TRIMS, " Let me ", "[assistant]Let me"),
        (THINKS, "Let me", "[assistant]<think></think>\nLet me"),
        (THINKS, "<think>a</think>Let me", "[assistant]<think>a</think>Let me"),
        (FORGETS, "Let me", "[assistant]Let me"),
    ],
)
def test_an_assistants_last_message_is_continued(template: str, text: str, end: str, tmp_path: Path) -> None:
    messages = [HI, assistant("yes"), HI, assistant(text)]
    assert render(template, messages, tmp_path).endswith(f"[user]hi[end]{end}")


@pytest.mark.parametrize(
    ("template", "messages"),
    [
        (THINKS, [HI, assistant("<think>\nLet me")]),
        (FORGETS, [HI, assistant("<think>a</think>Let me")]),
        # What is to be continued is somewhere in the prompt, but not at its end.
        (
            FORGETS,
            [{"role": "user", "content": "<think>a</think>b is <think>a</think>b"}, assistant("<think>a</think>b")],
        ),
        (IGNORES, [HI, assistant("Let me")]),
        (CHATML.replace("message['content']", "(message['content'] | upper)"), [HI, assistant("Let me")]),
    ],
)
def test_a_template_that_changes_what_is_to_be_continued_is_named(
    template: str, messages: list[dict[str, Any]], tmp_path: Path
) -> None:
    with pytest.raises(InvalidInput) as caught:
        render(template, messages, tmp_path)
    assert str(caught.value) == (
        f"the chat template of {tmp_path / 'model'} does not leave 'messages[1]' as it is, an assistant's message that "
        f"the model would continue; end with another role's, or render the prompt yourself and send it under 'prompt' "
        f"or 'prompt_ids'"
    )


@pytest.mark.parametrize(
    ("last", "problem"),
    [
        (assistant(""), "has no text"),
        (assistant(" \n"), "has no text"),
        ({"role": "assistant", "tool_calls": [{"function": {"name": "f"}}]}, "calls tools"),
        (assistant("Let me", tool_calls=[{"function": {"name": "f"}}]), "calls tools"),
    ],
)
def test_an_assistants_last_message_without_text_leaves_a_choice(
    last: dict[str, Any], problem: str, tmp_path: Path
) -> None:
    with pytest.raises(InvalidInput) as caught:
        render(CHATML, [HI, last], tmp_path)
    assert str(caught.value) == (
        f"'messages[1]', the last message, is an assistant's, which the model would continue, but it {problem}; leave "
        f"it out for a new answer"
    )


# -- what is wrong, and with whom ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("template", "sentence"),
    [
        ("{{ raise_exception('roles must alternate') }}", "refuses the messages: roles must alternate"),
        ("{{ messages[0]['content'] + 1 }}", "refuses the messages: can only concatenate str"),
        ("{{ messages[0].name.first }}", "refuses the messages: 'dict object' has no attribute 'name'"),
        ("{{ raise_exception('x' * 5000) }}", "refuses the messages: xxx"),
        ("{% if %}", "is not valid Jinja: Expected an expression, got 'end of statement block' (line 1)"),
        ("a\n{{ messages | nosuch }}", "is not valid Jinja: No filter named 'nosuch'. (line 2)"),
        ("{% for part in messages[0].content if part is mapping %}{{ part.text }}{% endfor %}", "leaves the text of"),
    ],
)
def test_a_templates_refusal_is_one_short_sentence_of_its_own(template: str, sentence: str, tmp_path: Path) -> None:
    with pytest.raises(InvalidInput) as caught:
        render(template, [HI], tmp_path)
    said = str(caught.value)
    assert said.startswith(f"the chat template of {tmp_path / 'model'} {sentence}")
    assert "\n" not in said
    assert len(said) < 600


def test_a_model_without_a_template_says_where_one_is_looked_for(tmp_path: Path) -> None:
    model = chat_model(tmp_path, None)
    with pytest.raises(InvalidInput) as caught:
        ChatTemplate(model).load()
    said = str(caught.value)
    assert said.startswith(f"model {model} has no chat template, so it takes no 'messages'")
    for place in (
        "chat_template.jinja",
        "additional_chat_templates/",
        "tokenizer_config.json",
        "generator.chat_template",
    ):
        assert place in said


@pytest.mark.parametrize(
    ("file", "content", "sentence"),
    [
        ("tokenizer.json", "{}", "needs the tokenizer, which transformers cannot load: "),
        ("tokenizer_config.json", "{", "needs the tokenizer, which transformers cannot load: "),
        ("chat_template.jinja", b"\xff", r"chat_template\.jinja cannot be read: 'utf-8' codec"),
    ],
)
def test_a_model_that_does_not_load_is_not_the_templates_fault(
    file: str, content: str | bytes, sentence: str, tmp_path: Path
) -> None:
    model = chat_model(tmp_path, CHATML)
    (model / file).write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(InvalidInput, match=sentence) as caught:
        ChatTemplate(model).render([HI], {}, DAY)
    assert "refuses" not in str(caught.value)


def test_a_broken_tokenizer_config_is_named_if_the_template_should_be_in_it(tmp_path: Path) -> None:
    model = chat_model(tmp_path, None)
    (model / "tokenizer_config.json").write_text("{")
    template = ChatTemplate(model)
    with pytest.raises(InvalidInput, match=r"tokenizer_config\.json cannot be read: Expecting property name"):
        template.load()
    assert not template.reads_date


def test_a_config_that_transformers_does_not_know_is_no_obstacle(tmp_path: Path) -> None:
    model = chat_model(tmp_path, CHATML)
    (model / "config.json").write_text('{"model_type": "nosuch", "max_position_embeddings": 64}')
    assert ChatTemplate(model).render([HI], {}, DAY) == "[user]hi[end][assistant]"


def test_a_failure_is_found_once(tmp_path: Path) -> None:
    model = chat_model(tmp_path, None)
    template = ChatTemplate(model)
    said = []
    for _ in range(2):
        with pytest.raises(InvalidInput) as caught:
            template.render([HI], {}, DAY)
        said.append(str(caught.value))
        (model / "chat_template.jinja").write_text(CHATML)
    assert said[0] == said[1]


# -- where templates are ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "inline", [CHATML, [{"name": "default", "template": CHATML}, {"name": "rag", "template": "no"}]]
)
def test_a_template_may_be_in_the_tokenizers_configuration(inline: Any, tmp_path: Path) -> None:
    template = ChatTemplate(chat_model(tmp_path, None, {"chat_template": inline}))
    assert template.render([HI], {}, DAY) == "[user]hi[end][assistant]"


def test_several_templates_need_a_default(tmp_path: Path) -> None:
    model = chat_model(tmp_path, None, {"chat_template": [{"name": "rag", "template": CHATML}]})
    with pytest.raises(InvalidInput, match=r"has no default chat template: .*'rag'"):
        ChatTemplate(model).load()


def test_a_template_file_stands_in_for_the_models(tmp_path: Path) -> None:
    file = tmp_path / "own.jinja"
    file.write_text(CHATML.replace("[assistant]", "[me]"))
    for template in ("broken {% if", None):
        folder = tmp_path / str(template is None)
        assert render(ChatTemplate(chat_model(folder, template), file), [HI], folder) == "[user]hi[end][me]"


@pytest.mark.parametrize(
    ("content", "sentence"),
    [(None, "own.jinja cannot be read: .*No such file"), ("{% if %}", r"own\.jinja is not valid Jinja: .*\(line 1\)")],
)
def test_a_template_file_that_is_none_is_named(content: str | None, sentence: str, tmp_path: Path) -> None:
    file = tmp_path / "own.jinja"
    if content is not None:
        file.write_text(content)
    with pytest.raises(InvalidInput, match=sentence):
        ChatTemplate(chat_model(tmp_path, CHATML), file).load()


# -- variables -------------------------------------------------------------------------------------------

VARIES = CHATML + "{% if enable_thinking is defined and enable_thinking is false %}[quick]{% endif %}"


def test_variables_reach_the_template(tmp_path: Path) -> None:
    template = ChatTemplate(chat_model(tmp_path, VARIES))
    assert render(template, [HI], tmp_path) == "[user]hi[end][assistant]"
    assert render(template, [HI], tmp_path, enable_thinking=False) == "[user]hi[end][assistant][quick]"


@pytest.mark.parametrize(
    ("name", "hint"), [("enable_thinkin", "did you mean 'enable_thinking'?"), ("reasoning_effort", "leave it out")]
)
def test_a_variable_that_the_template_never_reads_is_refused(name: str, hint: str, tmp_path: Path) -> None:
    with pytest.raises(InvalidInput) as caught:
        render(VARIES, [HI], tmp_path, **{name: False})
    model = tmp_path / "model"
    assert str(caught.value) == (
        f"chat_template_kwargs.{name} is set, but the chat template of {model} never reads it; {hint}"
    )


def test_today_is_the_day_that_is_given(tmp_path: Path) -> None:
    template = ChatTemplate(chat_model(tmp_path, "{{ strftime_now('%d %b %Y %H:%M') }}" + CHATML))
    assert template.reads_date
    assert render(template, [HI], tmp_path) == "03 Feb 2026 00:00[user]hi[end][assistant]"
    assert not ChatTemplate(chat_model(tmp_path / "other", CHATML)).reads_date


# -- special tokens --------------------------------------------------------------------------------------

NAMES = CHATML + "{{ bos_token }}"


def test_special_tokens_are_those_of_the_models_files(tmp_path: Path) -> None:
    model = chat_model(tmp_path, NAMES, {"bos_token": {"__type": "AddedToken", "content": "<eos>", "special": True}})
    assert ChatTemplate(model).render([HI], {}, DAY).endswith("[assistant]<eos>")


def test_torch_is_not_imported_to_render(tmp_path: Path) -> None:
    code = """
import json, sys
from datetime import date
from pathlib import Path
from treeroll.chat.template import ChatTemplate
print(ChatTemplate(Path(sys.argv[1])).render(json.loads(sys.argv[2]), {}, date.today()), "torch" in sys.modules)
"""
    command = [sys.executable, "-c", code, str(chat_model(tmp_path, CHATML)), json.dumps([HI])]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[user]hi[end][assistant] False"
