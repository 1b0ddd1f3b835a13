"""What a check has found out."""

from dataclasses import dataclass
from enum import StrEnum


class State(StrEnum):
    """How something is."""

    OK = "ok"
    WRONG = "wrong"
    NOT_CHECKED = "not checked"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing, in one sentence: what is there; or what is wrong and what to mend; or why it was not looked at."""

    state: State
    sentence: str
    check: str = ""


def ok(sentence: str) -> Finding:
    """As it should be."""
    return Finding(State.OK, sentence)


def wrong(sentence: str) -> Finding:
    """Somebody must act."""
    return Finding(State.WRONG, sentence)


def not_checked(sentence: str) -> Finding:
    """Nobody knows."""
    return Finding(State.NOT_CHECKED, sentence)
