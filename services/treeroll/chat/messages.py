"""Chat messages as clients write them."""

from collections.abc import Mapping, Sequence
from typing import Any

from treeroll.checks import check_text, kind
from treeroll.errors import InvalidInput

Message = Mapping[str, Any]


def check_messages(messages: Any) -> None:
    """InvalidInput, naming message and key, unless it is a list of messages that have a role and content."""
    if not isinstance(messages, Sequence) or isinstance(messages, str | bytes):
        raise InvalidInput(f"'messages' must be a list, got {kind(messages)}")
    if not messages:
        raise InvalidInput("'messages' is empty")
    for position, message in enumerate(messages):
        if not isinstance(message, Mapping):
            raise InvalidInput(
                f"'messages[{position}]' must be an object with 'role' and 'content', got {kind(message)}"
            )
        for key in ("role", "content"):
            if key not in message:
                raise InvalidInput(f"'messages[{position}]' has no '{key}'")
            check_text(f"messages[{position}].{key}", message[key], may_be_empty=key == "content")
