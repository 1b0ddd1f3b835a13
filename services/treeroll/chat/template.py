"""The chat template of a model directory, rendered by transformers: prompts are those that a trainer makes itself."""

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from difflib import get_close_matches
from functools import cached_property
from pathlib import Path
from typing import Any

from treeroll.errors import InvalidInput
from treeroll.model.facts import load_facts, read_json

log = logging.getLogger(__name__)

# What a template asks for the date, as transformers calls it.
DATE_FUNCTION = "strftime_now"
# Roles whose last message the model continues: Gemma's data calls the assistant "model".
CONTINUED = ("assistant", "model")
# Characters of somebody else's error that are shown.
SHOWN = 300


@dataclass(frozen=True)
class ChatTemplate:
    """Makes one text of chat messages. Loaded when it is first used, or by `load`, which takes seconds."""

    model_dir: Path
    file: Path | None = None
    """Jinja source that stands in for the model's own template."""

    @cached_property
    def sources(self) -> dict[str, str]:
        """Jinja sources by name; none for a model without. InvalidInput for a file that cannot be read."""
        return _sources(self.model_dir) if self.file is None else {"default": _read(self.file).removeprefix("\ufeff")}

    @property
    def reads_date(self) -> bool:
        """Whether prompts depend on the day."""
        try:
            return any(DATE_FUNCTION in source for source in self.sources.values())
        except InvalidInput:  # nothing will be rendered
            return False

    def load(self) -> None:
        """Load what renders. InvalidInput if messages cannot be rendered at all, and why."""
        _ = self._renderer

    @property
    def _renderer(self) -> "_Renderer":
        if isinstance(self._loaded, str):
            raise InvalidInput(self._loaded)
        return self._loaded

    @cached_property
    def _loaded(self) -> "_Renderer | str":
        # A failure is kept too: to find it again for every task would take as long every time.
        try:
            return _load(self)
        except InvalidInput as error:
            return str(error)

    def check_kwargs(self, kwargs: Mapping[str, Any]) -> None:
        """InvalidInput for a variable that the template never reads: it would be without effect."""
        for name in kwargs:
            if name not in (reads := self._renderer.reads):
                near = get_close_matches(name, reads, 1)
                hint = f"did you mean '{near[0]}'?" if near else "leave it out"
                raise InvalidInput(f"chat_template_kwargs.{name} is set, but {self} never reads it; {hint}")

    def render(self, messages: Sequence[Mapping[str, Any]], kwargs: Mapping[str, Any], day: date) -> str:
        """The messages as one text that ends where the model is to go on.

        That is in the last message if it is the assistant's, else behind the head of a new one. `kwargs` are further
        variables of the template, `day` is what it takes for today. InvalidInput if the template refuses the messages,
        changes what the model would continue, or never reads a variable.
        """
        self.check_kwargs(kwargs)
        self._check_calls(messages)
        variables = {DATE_FUNCTION: day.strftime, **kwargs}
        if messages[-1]["role"] in CONTINUED:
            text = self._continued(messages, variables)
        else:
            text = self._apply(messages, add_generation_prompt=True, **variables)
        for what in self._left_out(messages, text):
            if what not in self._told:
                self._told.add(what)
                log.warning("%s leaves out %s of messages, which some tasks have", self, what)
        return text

    @cached_property
    def _told(self) -> set[str]:
        """What it was said to leave out."""
        return set()

    def _left_out(self, messages: Sequence[Mapping[str, Any]], text: str) -> Iterator[str]:
        """Parts of messages that the model does not see, but for earlier thoughts."""
        keys = {key for message in messages for key in message} - {"role", "content", "tool_calls"}
        yield from (f"'{key}'" for key in sorted(keys) if not any(key in source for source in self.sources.values()))
        for message in messages:
            said = str(message.get("content", "")).rpartition("</think>")[2].strip()
            if said not in text:
                yield f"the text of role '{message['role']}'"

    def _check_calls(self, messages: Sequence[Mapping[str, Any]]) -> None:
        calling = next((place for place, message in enumerate(messages) if "tool_calls" in message), None)
        if calling is not None and not self._renderer.reads_calls:
            raise InvalidInput(f"{self} would leave out 'messages[{calling}].tool_calls', which it never reads")

    def _apply(self, messages: Sequence[Mapping[str, Any]], **options: Any) -> str:
        renderer = self._renderer
        try:
            return renderer.apply(messages, **options)
        except Exception as error:  # jinja and transformers raise many types
            raise InvalidInput(f"{self} refuses the messages: {_brief(error)}") from None

    def _continued(self, messages: Sequence[Mapping[str, Any]], variables: Mapping[str, Any]) -> str:
        place = f"messages[{len(messages) - 1}]"
        prefill = _prefill(messages[-1], place)
        try:
            text = self._apply(messages, continue_final_message=True, **variables)
        except InvalidInput as error:
            if "continue_final_message" not in str(error):
                raise
            text = ""
        if not _continues(text, prefill):
            raise InvalidInput(
                f"{self} does not leave '{place}' as it is, an assistant's message that the model would continue; end "
                f"with another role's, or render the prompt yourself and send it under 'prompt' or 'prompt_ids'"
            )
        return text

    def __str__(self) -> str:
        return f"the chat template of {self.model_dir}" if self.file is None else f"the chat template {self.file}"


def _prefill(message: Mapping[str, Any], place: str) -> str:
    """The text that the model is to continue, without the white space around it, which templates may trim."""
    text = str(message.get("content", "")).strip()
    if text and "tool_calls" not in message:
        return text
    problem = "calls tools" if "tool_calls" in message else "has no text"
    raise InvalidInput(
        f"'{place}', the last message, is an assistant's, which the model would continue, but it {problem}; leave it "
        f"out for a new answer"
    )


def _continues(text: str, prefill: str) -> bool:
    """Whether the text ends in what is to be continued, and no empty thoughts were put before its thoughts."""
    text = text.rstrip()
    head = text.removesuffix(prefill)
    return head != text and not (prefill.startswith("<think>") and head.rstrip().endswith("</think>"))


@dataclass(frozen=True, slots=True)
class _Renderer:
    apply: Callable[..., str]
    """Messages to text, as `apply_chat_template` of the model's tokenizer does it."""
    reads: frozenset[str]
    """Names that the template asks for, all that it may be given among them."""
    reads_calls: bool
    """Whether it knows tool calls."""


def _sources(model_dir: Path) -> dict[str, str]:
    """Where transformers keeps them: files come before what the tokenizer's configuration says."""
    files = {path.stem: path for path in sorted(model_dir.glob("additional_chat_templates/*.jinja"))}
    if (default := model_dir / "chat_template.jinja").is_file():
        files["default"] = default
    if files:
        return {name: _read(path) for name, path in files.items()}
    config = model_dir / "tokenizer_config.json"
    inline = read_json(config).get("chat_template") if config.is_file() else None
    named = inline if isinstance(inline, list) else [{"name": "default", "template": inline}] if inline else []
    return {str(entry["name"]): str(entry["template"]) for entry in named}


def _read(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise InvalidInput(f"{file} cannot be read: {_brief(error)}") from None


def _load(template: ChatTemplate) -> _Renderer:
    from transformers.utils.chat_template_utils import render_jinja_template

    sources, special = template.sources, load_facts(template.model_dir).special_tokens
    if not sources:
        raise InvalidInput(
            f"model {template.model_dir} has no chat template, so it takes no 'messages': there is none in "
            f"chat_template.jinja, in additional_chat_templates/ or under 'chat_template' in tokenizer_config.json; "
            f"set generator.chat_template to a file, or send text under 'prompt'"
        )
    if "default" not in sources:
        names = ", ".join(sorted(sources))
        raise InvalidInput(f"{template} is not one but several, none of them 'default': {names}")
    reads = frozenset[str]().union(*(_reads(source, str(template)) for source in sources.values()))

    def apply(messages: Any, *, tools: Any = None, **options: Any) -> str:
        source = sources.get("tool_use", sources["default"]) if tools is not None else sources["default"]
        rendered, _ = render_jinja_template([messages], chat_template=source, tools=tools, **{**special, **options})
        return str(rendered[0])

    _check_takes_text(apply, str(template))
    return _Renderer(apply, reads, any("tool_calls" in source for source in sources.values()))


def _reads(source: str, name: str) -> set[str]:
    from jinja2 import TemplateError, meta
    from transformers.utils.chat_template_utils import _compile_jinja_template  # templates use extensions of theirs

    try:
        environment = _compile_jinja_template(source).environment
        return set(meta.find_undeclared_variables(environment.parse(source)))
    except TemplateError as error:
        raise InvalidInput(f"{name} is not valid Jinja: {_brief(error)}{_line_of(error)}") from None


def _line_of(error: Exception) -> str:
    line = getattr(error, "lineno", None)
    return "" if line is None else f" (line {line})"


def _check_takes_text(apply: Callable[..., str], name: str) -> None:
    """InvalidInput if the text of messages does not get into the prompt, as where content comes in parts."""
    probe = "probe"
    try:
        text = apply([{"role": "user", "content": probe}], add_generation_prompt=True)
    except Exception:  # it may want other messages; what it refuses it says itself
        return
    if probe not in text.lower():
        raise InvalidInput(f"{name} leaves the text of messages out; send text under 'prompt'")


def _brief(error: Exception) -> str:
    """One line of an error, which may quote the whole prompt."""
    line = " ".join(str(error).split()) or type(error).__name__
    return line if len(line) <= SHOWN else f"{line[:SHOWN]} ..."
