"""Tasks: what a client submits, from rows as users have them.

The fields of a row that mean something are `id`, one of `prompt` / `messages` / `prompt_ids`, `answer`, and
`chat_template_kwargs` beside `messages`; all others travel along as `extra`. A field that is null counts as absent.
Values that JSON has not are taken as `treeroll.rows.values` says.
"""

import json
import logging
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import numpy as np

from treeroll.chat.messages import Message, plain_messages
from treeroll.chat.variables import plain_kwargs
from treeroll.checks import check_text, kind
from treeroll.errors import InvalidInput
from treeroll.plain_json import MOST_DEPTH, is_shallow
from treeroll.rows.files import OneOrMore, Row, rows_of, source_name, task_files
from treeroll.rows.values import Say, Told, WrittenFloat, decoded, is_missing, json_value, number_text

log = logging.getLogger(__name__)

PROMPT_FORMS = ("prompt", "messages", "prompt_ids")
ONE_FORM = "'prompt', 'messages' and 'prompt_ids'"
MAX_ID_CHARS = 256
MAX_TOKEN_ID = 2**31 - 1


@dataclass(frozen=True, slots=True)
class Task:
    """One prompt with an id and whatever its scorer needs.

    Raises InvalidInput, naming the field, for anything the service would refuse.
    """

    id: str
    """Unique in (run, epoch); 1..256 characters."""
    prompt: str | None = None
    """Plain text, tokenised as it is."""
    messages: Sequence[Message] | None = None
    """Chat messages, each with text under `role` and `content`; the service applies the model's chat template. Kept
    without null keys, see `treeroll.chat.messages`."""
    prompt_ids: Sequence[int] | None = None
    """Token ids, for a caller that tokenises itself."""
    answer: str | None = None
    """Reference answer for the scorer."""
    extra: Mapping[str, Any] = field(default_factory=dict)
    """Anything else that is JSON; handed to the scorer and back with every sample."""
    chat_template_kwargs: Mapping[str, Any] = field(default_factory=dict)
    """Further variables for the chat template of `messages`, such as enable_thinking; they come before the run's."""

    def __post_init__(self) -> None:
        check_text("id", self.id)
        if len(self.id) > MAX_ID_CHARS:
            raise InvalidInput(f"'id' has {len(self.id)} characters, at most {MAX_ID_CHARS} are allowed")
        forms = [name for name in PROMPT_FORMS if getattr(self, name) is not None]
        if len(forms) != 1:
            found = f"'{forms[0]}' and '{forms[1]}' are both there" if forms else "no prompt"
            raise InvalidInput(f"{found}; give exactly one of {ONE_FORM}")
        if self.messages is not None:
            object.__setattr__(self, "messages", plain_messages(self.messages))
            object.__setattr__(self, "chat_template_kwargs", plain_kwargs(self.chat_template_kwargs))
            _check_depth("messages", self.messages)
            _check_depth("chat_template_kwargs", self.chat_template_kwargs)
        elif self.chat_template_kwargs:
            raise InvalidInput(f"'chat_template_kwargs' goes with 'messages', but this task has '{forms[0]}'")
        elif self.prompt is not None:
            check_text("prompt", self.prompt)
        else:
            _check_prompt_ids(self.prompt_ids)
        if self.answer is not None:
            check_text("answer", self.answer, may_be_empty=True)
        _check_json(self.extra)


def _check_depth(name: str, value: Any, depth: int = MOST_DEPTH) -> None:
    """InvalidInput for a field that the service would refuse, and with it the tasks that travel beside."""
    if not is_shallow(value, depth):
        raise InvalidInput(f"'{name}' is nested more than {depth} deep")


def _check_prompt_ids(ids: Any) -> None:
    if not isinstance(ids, Sequence) or isinstance(ids, str | bytes):
        raise InvalidInput(f"'prompt_ids' must be a list of token ids, got {kind(ids)}")
    if not ids:
        raise InvalidInput("'prompt_ids' is empty")
    for position, token in enumerate(ids):
        if not isinstance(token, int) or isinstance(token, bool) or not 0 <= token <= MAX_TOKEN_ID:
            raise InvalidInput(f"'prompt_ids[{position}]' must be a token id (0 or more), got {token!r}")


def _check_json(extra: Mapping[str, Any]) -> None:
    for key, value in extra.items():
        if not isinstance(key, str):
            raise InvalidInput(f"extra field {key!r} must be named by text")
        try:
            json.dumps(value, allow_nan=False)
        except (TypeError, ValueError, RecursionError):
            hint = "NaN, infinities, dates, bytes and numbers of more than 4,300 digits are no JSON"
            raise InvalidInput(f"extra field '{key}' cannot be written as JSON; {hint}") from None
        _check_depth(key, value, MOST_DEPTH - 1)


@dataclass(frozen=True, slots=True)
class Fields:
    """Where a row has what a task needs; dots lead into objects, as in `reward_model.ground_truth`."""

    prompt: str | None = None
    """None: `prompt`, `messages` or `prompt_ids`. Text, chat messages or token ids, by what is there."""
    answer: str | None = None
    """None: `answer`."""
    id: str | None = None
    """None: `id`, and a row without it is called by its place; one that is named every row must have."""

    def taken(self) -> frozenset[str]:
        """Fields of a row that do not travel along as extra."""
        prompts = (self.prompt,) if self.prompt else PROMPT_FORMS
        return frozenset({self.id or "id", *prompts, self.answer or "answer", "chat_template_kwargs"})


USUAL = Fields()


def task_from(row: Mapping[str, Any], default_id: str, fields: Fields = USUAL, told: Told | None = None) -> Task:
    """A task from a mapping as users write it.

    A number is accepted for `id` and `answer` and kept as its shortest decimal: 5.0 is "5". `default_id` is used when
    `id` is absent and `fields` names no other. `told` hears of values that change their kind; None: logged
    as warnings. Raises InvalidInput naming the field.
    """
    if not isinstance(row, Mapping):
        raise InvalidInput(f"a task must be an object with fields, got {kind(row)}")
    told = told or Told(log.warning)
    try:
        return Task(
            id=_id(row, default_id, fields, told),
            answer=_text_at(row, fields.answer or "answer", told),
            extra={key: json_value(row[key], key, told) for key in row if key not in fields.taken()},
            chat_template_kwargs=_kwargs(row, told),
            **_prompt(row, fields, told),
        )
    except RecursionError:
        raise InvalidInput("a field is nested too deeply") from None


def _id(row: Mapping[str, Any], default_id: str, fields: Fields, told: Told) -> str:
    found = _text_at(row, fields.id or "id", told)
    if found is None and fields.id:  # a name by its place would make it another task as soon as rows move
        raise InvalidInput(f"no id: field '{fields.id}' is absent or null")
    return default_id if found is None else found


def _prompt(row: Mapping[str, Any], fields: Fields, told: Told) -> dict[str, Any]:
    """The prompt, by its form."""
    names = (fields.prompt,) if fields.prompt else PROMPT_FORMS
    there = [(name, value) for name in names if not is_missing(value := look_up(row, name))]
    if not there:
        raise InvalidInput(_no_prompt(row, fields))
    if len(there) > 1:
        raise InvalidInput(f"'{there[0][0]}' and '{there[1][0]}' are both there; give exactly one of {ONE_FORM}")
    [(name, value)] = there
    value = json_value(decoded(value, name), name, told)
    return {_form_of(value) if name in ("prompt", fields.prompt) else name: value}


def _form_of(value: Any) -> str:
    if isinstance(value, list) and value and all(isinstance(entry, Mapping) for entry in value):
        return "messages"
    if isinstance(value, list) and value and all(isinstance(entry, int) for entry in value):
        return "prompt_ids"
    return "prompt"


def _no_prompt(row: Mapping[str, Any], fields: Fields) -> str:
    others = [f"'{key}'" for key in row if key not in USUAL.taken() and not is_missing(row[key])]
    has = f"; this row has {', '.join(others)}" if others else ""
    if fields.prompt:
        return f"no prompt: field '{fields.prompt}' is absent or null{has}"
    hint = ", or say which field it is (--prompt-field, prompt_field=)" if others else ""
    return f"no prompt; give exactly one of {ONE_FORM}{hint}{has}"


def _kwargs(row: Mapping[str, Any], told: Told) -> Any:
    value = row.get(name := "chat_template_kwargs")
    plain = {} if is_missing(value) else json_value(value, name, told)
    # Arrow gives every row all keys that any row of the column has, rows without messages, too.
    return {key: plain[key] for key in plain if plain[key] is not None} if isinstance(plain, dict) else plain


def _text_at(row: Mapping[str, Any], name: str, told: Told) -> str | None:
    """An id or answer; None if there is none."""
    text = _text(name, look_up(row, name), told)
    if text is not None and not isinstance(text, str):
        raise InvalidInput(f"'{name}' must be text or a number, got {kind(text)}")
    return text


def _text(name: str, value: Any, told: Told) -> Any:
    """A number or a time as text; anything else as it is."""
    if isinstance(value, float | np.floating | Decimal) and not is_missing(value) and not math.isfinite(value):
        raise InvalidInput(f"'{name}' must be finite, got {value}")
    exact = isinstance(value, Decimal | WrittenFloat) and not is_missing(value)
    plain = value if exact else json_value(decoded(value, name), name, told)
    if isinstance(plain, bool) or not isinstance(plain, int | float | Decimal):
        return plain
    try:
        return number_text(plain)
    except ValueError:  # more digits than Python writes
        raise InvalidInput(f"'{name}' is a number with too many digits; write it as text") from None


def look_up(row: Mapping[str, Any], name: str) -> Any:
    """A field's value, None if it is absent. A name with dots is a field of that name, or leads into objects."""
    if name in row or "." not in name:
        return row.get(name)
    first, _, rest = name.partition(".")
    inner = row.get(first)
    return look_up(inner, rest) if isinstance(inner, Mapping) else None


OnSkip = Callable[[InvalidInput], None]


def read_tasks(
    path: OneOrMore,
    *,
    skip_invalid: bool = False,
    limit: int | None = None,
    on_skip: OnSkip | None = None,
    prompt_field: str | None = None,
    answer_field: str | None = None,
    id_field: str | None = None,
) -> list[Task]:
    """All tasks of a file, a folder or a glob of files, or a list of them, checked before any is returned.

    A row without `id` gets "task-<line number>" (Parquet: row number), counted from 1, and on through the files. With
    `skip_invalid` a bad row is left out and handed to `on_skip` as the InvalidInput it would have raised; without
    `on_skip` it is logged as a warning. `limit` stops after that many good tasks. `prompt_field`, `answer_field` and
    `id_field` are as in `Fields`. Raises InvalidInput for a file that cannot be read, a bad row, an id seen twice, a
    field that no row has, or files without any (valid) task.
    """
    fields = Fields(prompt_field, answer_field, id_field)
    return list(iter_tasks(path, skip_invalid=skip_invalid, limit=limit, on_skip=on_skip, fields=fields))


def iter_tasks(
    path: OneOrMore,
    *,
    skip_invalid: bool = False,
    limit: int | None = None,
    on_skip: OnSkip | None = None,
    fields: Fields = USUAL,
    on_note: Say | None = None,
) -> Iterator[Task]:
    """`read_tasks` one at a time, for files larger than memory: a bad row shows only when it is reached.

    `on_note` hears, once per column, what values become that JSON has not; None: logged as warnings.
    """
    if limit is not None and limit < 1:
        raise InvalidInput(f"limit must be 1 or more, got {limit}")
    report = on_skip or (lambda error: log.warning("skipped: %s", error))
    reader = _Reader(fields, Told(on_note or log.warning))
    for row in rows_of(task_files(path)):
        try:
            task = reader.read(row)
        except InvalidInput as error:
            if not skip_invalid:
                raise
            report(error)
            continue
        yield task
        if limit is not None and len(reader.seen) == limit:
            return
    if not reader.seen:
        raise InvalidInput(f"{source_name(path)} holds no {'valid ' if skip_invalid else ''}task")
    if fields.answer and not reader.answered:
        raise no_answers(source_name(path), fields)


def no_answers(name: str, fields: Fields) -> InvalidInput:
    """The error of files in which no row has the field that was named for its answer."""
    return InvalidInput(f"{name}: no task has a field '{fields.answer}' to take its answer from")


class _Reader:
    """Tasks from rows, with what must be remembered between them."""

    def __init__(self, fields: Fields, told: Told) -> None:
        self.seen: dict[str, str] = {}  # id -> place
        self.answered = False
        self._fields = fields
        self._told = told

    def read(self, row: Row) -> Task:
        """The row's task. InvalidInput names file and place."""
        try:
            if isinstance(row.value, InvalidInput):
                raise row.value
            task = task_from(row.value, f"task-{row.number}", self._fields, self._told)
            if task.id in self.seen:
                raise InvalidInput(f"id {task.id!r} is taken already by {self.seen[task.id]}")
        except InvalidInput as error:
            raise InvalidInput(f"{row.path} {row.place}: {error}") from None
        self.seen[task.id] = row.place if row.alone else f"{row.path} {row.place}"
        self.answered = self.answered or task.answer is not None
        return task
