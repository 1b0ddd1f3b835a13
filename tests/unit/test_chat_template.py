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
from treeroll.demo import MODEL_DIR
from treeroll.errors import InvalidInput

DAY = date(2026, 2, 3)
HI = {"role": "user", "content": "hi"}


def template_of(source: str, folder: Path) -> ChatTemplate:
    """The demo model with this template."""
    file = folder / "own.jinja"
    file.write_text(source)
    return ChatTemplate(MODEL_DIR, file)


def render(source: str, messages: list[dict[str, Any]], folder: Path, **kwargs: Any) -> str:
    return template_of(source, folder).render(messages, kwargs, DAY)


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


def test_a_model_is_an_assistant_under_another_name(tmp_path: Path) -> None:
    assert render(CHATML, [HI, {"role": "model", "content": "Let me"}], tmp_path) == "[user]hi[end][model]Let me"


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
        f"the chat template {tmp_path / 'own.jinja'} does not leave 'messages[1]' as it is, an assistant's message "
        f"that the model would continue; end with another role's, or render the prompt yourself and send it under "
        f"'prompt' or 'prompt_ids'"
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
        render(CHATML + "{{ tool_calls }}", [HI, last], tmp_path)
    assert str(caught.value) == (
        f"'messages[1]', the last message, is an assistant's, which the model would continue, but it {problem}; leave "
        f"it out for a new answer"
    )


# -- tool calls ------------------------------------------------------------------------------------------

CALLING = {"role": "assistant", "tool_calls": [{"function": {"name": "f"}}], "content": ""}
ANSWER = {"role": "tool", "content": "4"}


def test_calls_reach_a_template_that_knows_them(tmp_path: Path) -> None:
    source = CHATML + "{% for message in messages %}{{ message.tool_calls[0].function.name }}{% endfor %}"
    source = source.replace("message.tool_calls[0]", "(message.tool_calls or [{'function': {'name': ''}}])[0]")
    assert render(source, [HI, CALLING, ANSWER], tmp_path).endswith("[tool]4[end][assistant]f")


def test_a_template_that_knows_no_calls_does_not_drop_them_silently(tmp_path: Path) -> None:
    with pytest.raises(
        InvalidInput, match=r"own\.jinja would leave out 'messages\[1\].tool_calls', which it never reads"
    ):
        render(CHATML, [HI, CALLING, ANSWER], tmp_path)


@pytest.mark.parametrize(
    ("source", "messages", "left_out"),
    [
        (CHATML, [{**HI, "name": "bob"}], "'name'"),
        (CHATML, [HI, assistant("x", reasoning_content="y"), HI], "'reasoning_content'"),
        (IGNORES, [{"role": "system", "content": "Be brief."}, HI], "the text of role 'system'"),
        (IGNORES, [HI, {"role": "tool", "content": "4"}, HI], "the text of role 'tool'"),
        (CHATML + "{{ messages[-1].content[:2] }}", [{"role": "custom", "content": "hello"}], None),
        (FORGETS, [HI, assistant("<think>hm</think>x"), HI], None),
        (TRIMS, [{"role": "user", "content": " hi\n"}], None),
        (CHATML, [{"role": "user", "content": ""}], None),
    ],
)
def test_what_a_template_leaves_out_of_messages_is_said_once(
    source: str, messages: list[dict[str, Any]], left_out: str | None, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    template = template_of(source, tmp_path)
    for _ in range(2):
        template.render(messages, {}, DAY)
    said = [f"{template} leaves out {left_out} of messages, which some tasks have"] if left_out else []
    assert [record.getMessage() for record in caplog.records] == said


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
    assert said.startswith(f"the chat template {tmp_path / 'own.jinja'} {sentence}")
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


def test_a_model_that_does_not_load_is_not_the_templates_fault(tmp_path: Path) -> None:
    model = chat_model(tmp_path, CHATML)
    (model / "tokenizer.json").write_text("{}")
    template = ChatTemplate(model)
    with pytest.raises(InvalidInput, match=f"{model}: its tokenizer cannot be used") as caught:
        template.render([HI], {}, DAY)
    assert "template" not in str(caught.value)
    assert not template.reads_date


def test_a_failure_is_found_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    template = template_of("{% if", tmp_path)
    said = []
    for _ in range(2):
        with pytest.raises(InvalidInput) as caught:
            template.render([HI], {}, DAY)
        said.append(str(caught.value))
        monkeypatch.setattr("treeroll.chat.template._load", None)
    assert said[0] == said[1]


# -- where templates are ---------------------------------------------------------------------------------


def with_templates(folder: Path, **sources: str) -> ChatTemplate:
    """A model with these templates by name."""
    named = [{"name": name, "template": source} for name, source in sources.items()]
    return ChatTemplate(chat_model(folder, None, {"chat_template": named}))


def test_several_templates_need_a_default(tmp_path: Path) -> None:
    template = with_templates(tmp_path, tool_use=CHATML, rag=CHATML)
    with pytest.raises(
        InvalidInput, match=r"the chat template of .* is not one but several, .*'default': rag, tool_use"
    ):
        template.load()


def test_a_template_of_tools_is_used_where_there_are_tools(tmp_path: Path) -> None:
    template = with_templates(tmp_path, tool_use="{{ tools[0].name }}" + CHATML, default=CHATML)
    assert template.render([HI], {}, DAY) == "[user]hi[end][assistant]"
    assert template.render([HI], {"tools": [{"name": "f"}]}, DAY) == "f[user]hi[end][assistant]"


def test_special_tokens_are_the_models_unless_they_are_given(tmp_path: Path) -> None:
    assert render("{{ eos_token }}" + CHATML, [HI], tmp_path) == "<eos>[user]hi[end][assistant]"
    assert render("{{ eos_token }}" + CHATML, [HI], tmp_path, eos_token="<b>") == "<b>[user]hi[end][assistant]"


@pytest.mark.parametrize("start", ["", "\ufeff"])
def test_a_template_file_stands_in_for_the_models(tmp_path: Path, start: str) -> None:
    file = tmp_path / "own.jinja"
    file.write_text(start + CHATML.replace("[assistant]", "[me]"))
    assert ChatTemplate(chat_model(tmp_path, None), file).render([HI], {}, DAY) == "[user]hi[end][me]"


@pytest.mark.parametrize(
    ("content", "sentence"),
    [(None, "own.jinja cannot be read: .*No such file"), ("{% if %}", r"own\.jinja is not valid Jinja: .*\(line 1\)")],
)
def test_a_template_file_that_is_none_is_named(content: str | None, sentence: str, tmp_path: Path) -> None:
    file = tmp_path / "own.jinja"
    if content is not None:
        file.write_text(content)
    with pytest.raises(InvalidInput, match=sentence):
        ChatTemplate(MODEL_DIR, file).load()


# -- variables -------------------------------------------------------------------------------------------

VARIES = CHATML + "{% if enable_thinking is defined and enable_thinking is false %}[quick]{% endif %}"


def test_variables_reach_the_template(tmp_path: Path) -> None:
    assert render(VARIES, [HI], tmp_path) == "[user]hi[end][assistant]"
    assert render(VARIES, [HI], tmp_path, enable_thinking=False) == "[user]hi[end][assistant][quick]"


@pytest.mark.parametrize(
    ("name", "hint"), [("enable_thinkin", "did you mean 'enable_thinking'?"), ("reasoning_effort", "leave it out")]
)
def test_a_variable_that_the_template_never_reads_is_refused(name: str, hint: str, tmp_path: Path) -> None:
    with pytest.raises(InvalidInput) as caught:
        render(VARIES, [HI], tmp_path, **{name: False})
    own = tmp_path / "own.jinja"
    assert (
        str(caught.value) == f"chat_template_kwargs.{name} is set, but the chat template {own} never reads it; {hint}"
    )


def test_today_is_the_day_that_is_given(tmp_path: Path) -> None:
    template = template_of("{{ strftime_now('%d %b %Y %H:%M') }}" + CHATML, tmp_path)
    assert template.reads_date
    assert template.render([HI], {}, DAY) == "03 Feb 2026 00:00[user]hi[end][assistant]"
    assert not template_of(CHATML, tmp_path).reads_date


# -- loading -------------------------------------------------------------------------------------------


def test_torch_is_not_imported_to_render() -> None:
    code = """
import json, sys
from datetime import date
from pathlib import Path
from treeroll.chat.template import ChatTemplate
from treeroll.demo import MODEL_DIR
print(ChatTemplate(Path(sys.argv[1])).render(json.loads(sys.argv[2]), {}, date.today()), "torch" in sys.modules)
"""
    command = [sys.executable, "-c", code, str(MODEL_DIR), json.dumps([HI])]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["hi", "False"]
