"""Items of reasoning-gym (https://github.com/open-thought/reasoning-gym), scored by the data set that made them.

A task carries where its item came from, (data set, parameters, index), and the item is made again to be scored: its
metadata hold tuples, dates and matrices, which JSON does not bring back as they were.
"""

import hashlib
import json
from collections.abc import Mapping
from copy import deepcopy
from functools import lru_cache
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from treeroll.boxed import last_boxed
from treeroll.errors import InvalidInput
from treeroll.scorers.answers import behind_thoughts
from treeroll.scorers.base import MissingInput, ScoreItem

FIELD = "reasoning_gym"
"""The field of a task that names its item: an object of `dataset`, `index`, `params` and `question`."""

Item = dict[str, Any]


class ReasoningGymScorer:
    r"""The score that an item's own data set gives the completion's answer, most often 0 to 1.

    The answer is what the last `<answer>...</answer>` holds, as in the library's prompts; without it the last
    \boxed{...}, and without that the completion. The model's thoughts, up to `</think>`, are not read. Many data sets
    give part of the score to a text that contains the right answer.
    """

    name = FIELD
    version = 1

    def __init__(self) -> None:
        """InvalidInput if the library is not installed. It is imported by `load`: that takes seconds."""
        if find_spec("reasoning_gym") is None:
            raise InvalidInput(
                "scorer 'reasoning_gym' needs the package reasoning-gym where the service runs: "
                "pip install 'treeroll[reasoning-gym]'"
            )

    def load(self) -> None:
        """Import the library."""
        import_module("reasoning_gym")

    def check_fields(self, item: ScoreItem) -> None:
        """MissingInput if the task does not name an item."""
        _named(item.extra)

    def check(self, item: ScoreItem) -> None:
        """MissingInput as `check_fields`; ValueError if the item cannot be made again, or is another one here."""
        _remake(item)

    def score(self, item: ScoreItem) -> float:
        """The data set's score. Raises what `check` raises, and what the data set does."""
        dataset, made = _remake(item)
        completion = behind_thoughts(item.completion, item.prompt)
        return float(dataset.score_answer(_answer(completion), deepcopy(made)))


def open_dataset(name: str, params: Mapping[str, Any]) -> Any:
    """The data set of that name. InvalidInput says what the library has against the name or a parameter."""
    from reasoning_gym.factory import DATASETS, create_dataset

    if name not in DATASETS:
        raise InvalidInput(f"reasoning-gym has no data set {name!r}; it has {', '.join(sorted(DATASETS))}")
    try:
        return create_dataset(name, **params)
    except (AssertionError, TypeError, ValueError) as error:
        shown = ", ".join(f"{key}={value!r}" for key, value in params.items())
        raise InvalidInput(f"reasoning-gym does not make {name!r} with {shown}: {error}") from None


def fingerprint(question: str) -> str:
    """What tells an item that is made again from another."""
    return hashlib.sha256(question.encode("utf-8", "surrogatepass")).hexdigest()[:16]


def _named(extra: Mapping[str, Any]) -> tuple[str, str, int, str]:
    """Data set, parameters as JSON, index, and the question's fingerprint."""
    named = extra.get(FIELD)
    if not isinstance(named, Mapping):
        raise MissingInput(f"the task has no field '{FIELD}'; `treeroll tasks from reasoning_gym:NAME` writes it")
    dataset, index, question = named.get("dataset"), named.get("index"), named.get("question")
    params = named.get("params")
    if not (isinstance(dataset, str) and isinstance(index, int) and isinstance(question, str)):
        raise MissingInput(f"the task's field '{FIELD}' does not name an item: dataset, index and question are needed")
    if not isinstance(params, Mapping):
        raise MissingInput(f"the task's field '{FIELD}' has no 'params', so its item cannot be made again")
    return dataset, json.dumps(params, sort_keys=True), index, question


def _remake(item: ScoreItem) -> tuple[Any, Item]:
    name, params, index, question = _named(item.extra)
    dataset, made = _made(name, params, index)
    if fingerprint(made["question"]) != question:
        from importlib.metadata import version

        raise ValueError(
            f"item {index} of '{name}' asks another question here, with reasoning-gym {version('reasoning-gym')}, than "
            "where the tasks were written: write them with the version that the service has"
        )
    return dataset, made


@lru_cache(maxsize=64)
def _opened(name: str, params: str) -> Any:
    try:
        return open_dataset(name, json.loads(params))
    except InvalidInput as error:
        raise ValueError(str(error)) from None


@lru_cache(maxsize=256)  # a tree has one item and many leaves
def _made(name: str, params: str, index: int) -> tuple[Any, Item]:
    dataset = _opened(name, params)
    return dataset, dataset[index]


def _answer(completion: str) -> str:
    from reasoning_gym.utils import extract_answer

    tagged = extract_answer(completion)
    if tagged is not None:
        return str(tagged)
    boxed = last_boxed(completion)
    return completion.strip() if boxed is None else boxed.strip()
