"""Variables that runs and tasks give to a chat template beside the messages: `chat_template_kwargs`."""

from collections.abc import Mapping
from typing import Any

from treeroll.chat.messages import plain_object
from treeroll.checks import kind
from treeroll.errors import InvalidInput

# Parameters of transformers' apply_chat_template, and what it gives to templates itself.
OURS = frozenset({
    "conversation", "messages", "chat_template", "add_generation_prompt", "continue_final_message", "tokenize",
    "padding", "truncation", "max_length", "return_tensors", "return_dict", "return_assistant_tokens_mask",
    "tokenizer_kwargs", "strftime_now",
})  # fmt: skip
INSTEAD = {
    "chat_template": "set generator.chat_template to a file",
    "strftime_now": "set chat_date",
    "continue_final_message": "end with an assistant's message",
}


def plain_kwargs(kwargs: Any) -> dict[str, Any]:
    """Variables as JSON values, without null ones. InvalidInput names what is no JSON, or not a caller's to set."""
    if not isinstance(kwargs, Mapping):
        raise InvalidInput(f"'chat_template_kwargs' must be an object, got {kind(kwargs)}")
    plain = plain_object("chat_template_kwargs", kwargs)
    for name in sorted(plain.keys() & OURS):
        raise InvalidInput(f"'chat_template_kwargs.{name}' is set by the service; {INSTEAD.get(name, 'leave it out')}")
    return plain
