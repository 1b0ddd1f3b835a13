"""Tasks: what a client submits, and readers for the files they come in.

A task file holds one task per row: JSON lines (`.jsonl`, `.ndjson`, `.json`) or Parquet (`.parquet`, `.pq`). The fields
that mean something are `id`, one of `prompt` / `messages` / `prompt_ids`, and `answer`; all others travel along as
`extra`. A field that is null counts as absent. Every refusal is one sentence that names the file and the line or row.
"""

import json
import logging
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from treeroll.chat.messages import Message, plain_messages
from treeroll.checks import check_text, kind
from treeroll.errors import InvalidInput

log = logging.getLogger(__name__)

PROMPT_FORMS = ("prompt", "messages", "prompt_ids")
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

    def __post_init__(self) -> None:
        check_text("id", self.id)
        if len(self.id) > MAX_ID_CHARS:
            raise InvalidInput(f"'id' has {len(self.id)} characters, at most {MAX_ID_CHARS} are allowed")
        forms = [name for name in PROMPT_FORMS if getattr(self, name) is not None]
        if len(forms) != 1:
            found = f"'{forms[0]}' and '{forms[1]}' are both there" if forms else "no prompt"
            raise InvalidInput(f"{found}; give exactly one of 'prompt', 'messages' and 'prompt_ids'")
        if self.messages is not None:
            object.__setattr__(self, "messages", plain_messages(self.messages))
        elif self.prompt is not None:
            check_text("prompt", self.prompt)
        else:
            _check_prompt_ids(self.prompt_ids)
        if self.answer is not None:
            check_text("answer", self.answer, may_be_empty=True)
        _check_json(self.extra)


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
            hint = "NaN, infinities, dates and bytes are no JSON"
            raise InvalidInput(f"extra field '{key}' cannot be written as JSON; {hint}") from None


def task_from(row: Mapping[str, Any], default_id: str) -> Task:
    """A task from a mapping as users write it.

    A number is accepted for `id` and `answer` and kept as text; numpy arrays are accepted for `prompt_ids`.
    `default_id` is used when `id` is absent. Raises InvalidInput naming the field.
    """
    if not isinstance(row, Mapping):
        raise InvalidInput(f"a task must be an object with fields, got {kind(row)}")
    known = {key: row[key] for key in ("id", *PROMPT_FORMS, "answer") if row.get(key) is not None}
    task_id = known.get("id", default_id)
    prompt_ids: Any = known.get("prompt_ids")
    return Task(
        id=str(task_id) if isinstance(task_id, int) and not isinstance(task_id, bool) else task_id,
        prompt=known.get("prompt"),
        messages=known.get("messages"),
        prompt_ids=prompt_ids.tolist() if hasattr(prompt_ids, "tolist") else prompt_ids,
        answer=_answer_text(known.get("answer")),
        extra={key: value for key, value in row.items() if key not in ("id", *PROMPT_FORMS, "answer")},
    )


def _answer_text(answer: Any) -> str | None:
    if answer is None or isinstance(answer, str):
        return answer
    if not isinstance(answer, int | float) or isinstance(answer, bool):
        raise InvalidInput(f"'answer' must be text or a number, got {kind(answer)}")
    if not math.isfinite(answer):
        raise InvalidInput(f"'answer' must be finite, got {answer}")
    return str(answer)


OnSkip = Callable[[InvalidInput], None]


def read_tasks(
    path: str | Path, *, skip_invalid: bool = False, limit: int | None = None, on_skip: OnSkip | None = None
) -> list[Task]:
    """All tasks of a file, checked before any is returned.

    A row without `id` gets "task-<line number>" (Parquet: row number), counted from 1. With `skip_invalid` a bad row is
    left out and handed to `on_skip` as the InvalidInput it would have raised; without `on_skip` it is logged as a
    warning. `limit` stops after that many good tasks. Raises InvalidInput for a file that cannot be read, a bad row, an
    id seen twice, or a file without any (valid) task.
    """
    return list(iter_tasks(path, skip_invalid=skip_invalid, limit=limit, on_skip=on_skip))


def iter_tasks(
    path: str | Path, *, skip_invalid: bool = False, limit: int | None = None, on_skip: OnSkip | None = None
) -> Iterator[Task]:
    """`read_tasks` one at a time, for files larger than memory: a bad row shows only when it is reached."""
    if limit is not None and limit < 1:
        raise InvalidInput(f"limit must be 1 or more, got {limit}")
    path = Path(path)
    report = on_skip or (lambda error: log.warning("skipped: %s", error))
    seen: dict[str, str] = {}
    for place, row in _rows(path):
        try:
            task = _unique_task(path, place, row, seen)
        except InvalidInput as error:
            if not skip_invalid:
                raise
            report(error)
            continue
        yield task
        if limit is not None and len(seen) == limit:
            return
    if not seen:
        raise InvalidInput(f"{path} holds no {'valid ' if skip_invalid else ''}task")


def _unique_task(path: Path, place: str, row: "Mapping[str, Any] | InvalidInput", seen: dict[str, str]) -> Task:
    """Parse one row and note its id in `seen` (id -> place)."""
    try:
        if isinstance(row, InvalidInput):
            raise row
        task = task_from(row, default_id=f"task-{place.rpartition(' ')[2]}")
        if task.id in seen:
            raise InvalidInput(f"id {task.id!r} is taken already by {seen[task.id]}")
    except InvalidInput as error:
        raise InvalidInput(f"{path} {place}: {error}") from None
    seen[task.id] = place
    return task


def _rows(path: Path) -> "Iterator[tuple[str, Mapping[str, Any] | InvalidInput]]":
    """(place, row) for every row; a row that cannot be parsed comes as the error, so that the caller may skip it."""
    suffix = path.suffix.lower()
    if suffix not in _READERS:
        raise InvalidInput(f"{path} must end in {', '.join(sorted(_READERS))}")
    try:
        yield from _READERS[suffix](path)
    except OSError as error:
        raise InvalidInput(f"{path} cannot be read: {error.strerror or error}") from None


def _json_lines(path: Path) -> "Iterator[tuple[str, Mapping[str, Any] | InvalidInput]]":
    with path.open("rb") as lines:  # bytes: one line that is not UTF-8 must not hide the others
        for number, line in enumerate(lines, 1):
            if line.strip():
                yield f"line {number}", _json_row(line)


def _json_row(line: bytes) -> "Mapping[str, Any] | InvalidInput":
    try:
        row = json.loads(line.decode("utf-8-sig"))
    except json.JSONDecodeError as error:
        return InvalidInput(f"not valid JSON ({error.msg} at column {error.colno})")
    except UnicodeDecodeError as error:
        return InvalidInput(f"not valid UTF-8 (byte {error.start + 1})")
    except (ValueError, RecursionError) as error:
        return InvalidInput(f"not usable JSON ({error})")
    return row if isinstance(row, dict) else InvalidInput(f"a task must be an object with fields, got {kind(row)}")


def _parquet(path: Path) -> "Iterator[tuple[str, Mapping[str, Any] | InvalidInput]]":
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with path.open("rb") as source, pq.ParquetFile(source) as file:
            number = 0
            for batch in file.iter_batches(batch_size=1024):
                for row in batch.to_pylist():
                    number += 1
                    yield f"row {number}", row
    except pa.ArrowInvalid as error:
        raise InvalidInput(f"{path} is not a readable Parquet file: {' '.join(str(error).split())}") from None


_READERS = {".jsonl": _json_lines, ".ndjson": _json_lines, ".json": _json_lines, ".parquet": _parquet, ".pq": _parquet}
