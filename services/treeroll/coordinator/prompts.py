"""Prompts of tasks, from any of their three forms to token ids."""

import json
from dataclasses import dataclass
from datetime import date
from typing import Any

import numpy as np

from treeroll import plain_json
from treeroll.chat.messages import plain_messages
from treeroll.chat.template import ChatTemplate
from treeroll.chat.variables import plain_kwargs
from treeroll.config import RunConfig
from treeroll.errors import InvalidInput
from treeroll.pb.v1 import rollout_pb2 as api
from treeroll.tokenizer import Tokenizer


@dataclass(frozen=True, slots=True)
class Prompt:
    """A prompt as the engine reads it, and as its client sent it."""

    ids: list[int]
    text: str
    sent: bytes
    """Equal for equal prompts of equal form, whatever the tokenizer and the chat template make of them."""


@dataclass(frozen=True, slots=True)
class ChatSettings:
    """How a run has its messages rendered."""

    kwargs: dict[str, Any]
    day: date
    """The first of all where no template asks."""

    @classmethod
    def of(cls, config_json: str) -> "ChatSettings":
        """Those of a run, from its resolved configuration."""
        values = json.loads(config_json)
        day = values["chat_date"]
        return cls(values["chat_template_kwargs"], date.fromisoformat(day) if day else date.min)


def with_chat_date(config: RunConfig, template: ChatTemplate, today: date) -> RunConfig:
    """The configuration with the day that its prompts will say, None if they say none.

    InvalidInput for settings of the chat that are without effect.
    """
    if config.chat_template_kwargs:
        template.check_kwargs(config.chat_template_kwargs)
    if config.chat_date is None:
        return config.model_copy(update={"chat_date": today}) if template.reads_date else config
    if not template.reads_date:
        raise InvalidInput(f"chat_date is set, but {template} does not ask for the date; leave it out")
    return config


def prompt_of(task: api.Task, tokenizer: Tokenizer, chat: ChatSettings, where: str) -> Prompt:
    """A task's prompt. InvalidInput, starting with `where`, for one that cannot be read or rendered."""
    if task.chat_template_kwargs_json and not task.HasField("messages_json"):
        raise InvalidInput(f"{where}: 'chat_template_kwargs' goes with 'messages'")
    match task.WhichOneof("prompt"):
        case "text":
            tokenizer.check_size(len(task.text), where)
            return Prompt(tokenizer.encode_text(task.text), task.text, b"text " + task.text.encode())
        case "prompt_ids":
            if len(task.prompt_ids) % 4:
                raise InvalidInput(f"{where}: prompt_ids is not a whole number of int32 values")
            tokenizer.check_length(len(task.prompt_ids) // 4, where)
            ids = [int(i) for i in np.frombuffer(task.prompt_ids, "<i4")]
            tokenizer.check_prompt(ids, where)
            return Prompt(ids, tokenizer.decode(ids), b"ids " + task.prompt_ids)
        case "messages_json":
            try:
                return _chat_prompt(task, tokenizer, chat)
            except InvalidInput as error:
                raise InvalidInput(f"{where}: {error}") from None
    raise InvalidInput(f"{where}: it has no prompt; give text, messages or prompt_ids")


def _chat_prompt(task: api.Task, tokenizer: Tokenizer, chat: ChatSettings) -> Prompt:
    # A character of JSON may be six of them.
    tokenizer.check_size(len(task.messages_json) // 6, "messages")
    messages = plain_messages(_json("messages", task.messages_json))
    kwargs = plain_kwargs(_json("chat_template_kwargs", task.chat_template_kwargs_json or "{}"))
    ids, text = tokenizer.encode_messages(messages, {**chat.kwargs, **kwargs}, chat.day)
    return Prompt(ids, text, b"chat " + json.dumps([messages, kwargs], sort_keys=True).encode())


def _json(name: str, raw: str) -> Any:
    try:
        return plain_json.loads(raw)
    except ValueError as error:
        raise InvalidInput(f"{name}: not usable JSON: {error}") from None
