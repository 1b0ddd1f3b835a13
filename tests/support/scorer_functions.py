"""Functions that misbehave in every way a user's scorer can."""

import os
import time
from typing import Any


def length(prompt: str, completion: str, answer: str | None, extra: dict[str, Any]) -> float:
    """The well-behaved one."""
    return float(len(completion))


length.version = 3  # type: ignore[attr-defined]


def act(prompt: str, completion: str, answer: str | None, extra: dict[str, Any]) -> Any:
    """Do what the completion says, so that one scorer serves good and bad items in one batch."""
    return ACTS[completion]()


def _raise() -> None:
    raise RuntimeError("no\nluck " + "x" * 1000)


def _spin() -> None:
    while True:
        pass


def _deaf_spin() -> None:
    """Refuses every exception."""
    while True:
        try:
            while True:
                pass
        except BaseException:  # noqa: S112
            continue


def _unprintable() -> None:
    class Unprintable(Exception):
        def __str__(self) -> str:
            raise ValueError("not even this")

    raise Unprintable


def _system_exit() -> None:
    raise SystemExit(3)


def _close_all() -> None:
    os.closerange(3, 256)


ACTS: dict[str, Any] = {
    "one": lambda: 1.0,
    "zero": lambda: 0,
    "true": lambda: True,
    "raise": _raise,
    "unprintable": _unprintable,
    "system_exit": _system_exit,
    "nan": lambda: float("nan"),
    "inf": lambda: float("inf"),
    "huge": lambda: 10**400,
    "none": lambda: None,
    "dict": lambda: {"score": 0.5, "pred": "x"},
    "dict of none": lambda: {"score": None},
    "dict of nan": lambda: {"score": float("nan")},
    "empty dict": lambda: {},
    "tuple": lambda: (0.5, "because"),
    "tuple of none": lambda: (None, "because"),
    "tuple of text": lambda: ("0.5",),
    "empty tuple": lambda: (),
    "text": lambda: "1.0",
    "list": lambda: [1.0],
    "spin": _spin,
    "deaf_spin": _deaf_spin,
    "sleep": lambda: time.sleep(3600),
    "nap": lambda: time.sleep(0.4) or 1.0,
    "exit": lambda: os._exit(1),
    "abort": os.abort,
    "close_all": _close_all,
    "kill_actor": lambda: os.kill(os.getppid(), 9) or time.sleep(60),
    "pid": lambda: os.getpid(),
}

not_callable = 3


def too_few(prompt: str) -> float:
    """Wrong signature."""
    return 0.0


async def asynchronous(prompt: str, completion: str, answer: str | None, extra: dict[str, Any]) -> float:
    """Wrong colour."""
    return 0.0


def of_even_length(prompt: str, completion: str, answer: str | None, extra: dict[str, Any]) -> float | None:
    """Abstains from the others."""
    return None if len(completion) % 2 else 1.0
