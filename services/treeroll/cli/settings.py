"""From a configuration file, `--set` and flags to one configuration. Flags win over `--set`, `--set` over the file."""

import codecs
import json
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from treeroll.config import RunConfig, TasksConfig, apply_overrides, parse
from treeroll.errors import InvalidInput
from treeroll.plain_json import unique

SERVICE_SECTIONS = ("generator", "ray", "coordinator", "store", "scorers", "access", "dashboard", "tracing")
SECTIONS = ("run", *SERVICE_SECTIONS, "tasks")

# More than any configuration has: a few lines of aliases can stand for more values than there are bytes in a machine.
MOST_VALUES = 100_000

Sections = dict[str, dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Settings:
    """A rollout's configuration. `service` holds the sections of the service that was asked for, not yet checked."""

    run: RunConfig
    service: Sections
    tasks: TasksConfig = field(default_factory=TasksConfig)


def layered(file: Path | None, sets: Sequence[str], flags: Mapping[str, Mapping[str, Any]]) -> Sections:
    """All sections that were given, merged. A flag that is None was not given."""
    values = apply_overrides(read_settings(file) if file else {}, list(sets))
    for section, content in values.items():
        if section not in SECTIONS:
            raise InvalidInput(f"there is no configuration section '{section}'; the sections are {', '.join(SECTIONS)}")
        if not isinstance(content, dict):
            raise InvalidInput(f"configuration section '{section}' must hold keys and values, got {content!r}")
    for section, given in flags.items():
        chosen = {key: value for key, value in given.items() if value is not None}
        if chosen:
            values.setdefault(section, {}).update(chosen)
    return values


def rollout_settings(file: Path | None, sets: Sequence[str], flags: Mapping[str, Mapping[str, Any]]) -> Settings:
    """Settings of `treeroll rollout`."""
    values = layered(file, sets, flags)
    run = parse(RunConfig, values.pop("run", {}), "section 'run'")
    tasks = parse(TasksConfig, values.pop("tasks", {}), "section 'tasks'")
    return Settings(run, values, tasks)


def read_settings(path: Path) -> dict[str, Any]:
    """A YAML, TOML or JSON file, by suffix; UTF-8 in every locale. InvalidInput names file, line and cause."""
    parser = _PARSERS.get(path.suffix.lower())
    if parser is None:
        raise InvalidInput(f"configuration file {path} must end in .yaml, .yml, .toml or .json")
    try:
        text = _decoded(path.read_bytes())
        values = parser(text)
    except OSError as error:
        raise InvalidInput(f"configuration file {path} cannot be read: {error.strerror}") from None
    except Exception as error:  # each parser has its own error type
        raise InvalidInput(f"configuration file {path} is not valid: {' '.join(str(error).split())}") from None
    if not isinstance(values, dict):
        raise InvalidInput(f"configuration file {path} must hold a mapping at its top")
    return values


def _decoded(raw: bytes) -> str:
    """UTF-8, with a byte order mark or without. ValueError names the line that is something else."""
    if raw.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise ValueError("it is UTF-16 from line 1 on; save it as UTF-8")
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line, byte = raw.count(b"\n", 0, error.start) + 1, raw[error.start]
        raise ValueError(f"byte 0x{byte:02x} in line {line} is not UTF-8; save it as UTF-8") from None


def _json(text: str) -> Any:
    return json.loads(text, object_pairs_hook=unique)


def _yaml(text: str) -> Any:
    import yaml

    try:
        _count_values(yaml.compose(text, yaml.SafeLoader), {})
        _check_keys(yaml.compose(text, yaml.SafeLoader))
        values = yaml.safe_load(text)
    except yaml.reader.ReaderError as error:  # counts characters only
        line = text.count("\n", 0, error.position) + 1
        raise ValueError(f"character U+{error.character:04X} in line {line} is not allowed in YAML") from None
    return {} if values is None else values  # nothing but comments


def _count_values(node: Any, known: dict[int, int]) -> int:
    """How many values a YAML node stands for, its aliases written out. ValueError if they are too many, or endless."""
    from yaml import MappingNode, SequenceNode

    if id(node) not in known:
        known[id(node)] = MOST_VALUES  # of one that holds itself
        inner: list[Any] = []
        if isinstance(node, MappingNode):
            inner = [part for pair in node.value for part in pair]
        elif isinstance(node, SequenceNode):
            inner = node.value
        known[id(node)] = 1 + sum(_count_values(part, known) for part in inner)
    if known[id(node)] >= MOST_VALUES:
        raise ValueError(f"it stands for more than {MOST_VALUES:,} values, by aliases; write out what is meant")
    return known[id(node)]


def _check_keys(node: Any) -> None:
    """ValueError for a YAML key that is there twice in a mapping."""
    from yaml import MappingNode, SequenceNode

    if isinstance(node, MappingNode):
        seen = set()
        for key, value in node.value:
            if key.value in seen and key.value != "<<":
                raise ValueError(f"key '{key.value}' in line {key.start_mark.line + 1} is there twice in its mapping")
            if isinstance(key.value, str):
                seen.add(key.value)
            _check_keys(value)
    elif isinstance(node, SequenceNode):
        for value in node.value:
            _check_keys(value)


_PARSERS: dict[str, Callable[[str], Any]] = {".yaml": _yaml, ".yml": _yaml, ".toml": tomllib.loads, ".json": _json}
