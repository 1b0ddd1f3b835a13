"""The Lua scripts of the Redis store: Redis 6.2 commands only, one state change each, called by SHA."""

from dataclasses import dataclass
from functools import cache
from hashlib import sha1
from importlib.resources import files

_GROUP_SCRIPTS = frozenset({
    "lease", "ack", "renew", "release", "release_all", "state", "unacknowledged", "open_group", "move_group",
    "available", "find_step", "take_step", "share_step", "ack_share",
})  # fmt: skip


@dataclass(frozen=True, slots=True)
class Script:
    """A script's text, and the SHA-1 that Redis calls it by."""

    name: str
    text: str
    sha: str


@cache
def script(name: str) -> Script:
    """The script in `<name>.lua`; those about consumer groups start with the functions of `group.lua`."""
    text = _read(name)
    if name in _GROUP_SCRIPTS:
        text = _read("group") + text
    return Script(name, text, sha1(text.encode(), usedforsecurity=False).hexdigest())


def _read(name: str) -> str:
    return (files(__name__) / f"{name}.lua").read_text(encoding="utf-8")
