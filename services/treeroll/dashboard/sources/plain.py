"""Protobuf messages as values for JSON: all fields, numbers as numbers."""

from typing import Any

from google.protobuf.message import Message


def plain(message: Message) -> dict[str, Any]:
    """Field -> value; None for what is optional and not there. Integers beyond 2^53 lose digits in browsers."""
    found: dict[str, Any] = {}
    for field in message.DESCRIPTOR.fields:
        value = getattr(message, field.name)
        if field.message_type is not None and field.message_type.GetOptions().map_entry:
            found[field.name] = dict(value)
        elif field.is_repeated:
            found[field.name] = [plain(part) if field.message_type is not None else part for part in value]
        elif field.has_presence and not message.HasField(field.name):
            found[field.name] = None
        else:
            found[field.name] = plain(value) if field.message_type is not None else value
    return found
