"""From a configuration file, `--set` and flags to one configuration. Flags win over `--set`, `--set` over the file."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from treeroll.config import RunConfig, TasksConfig, apply_overrides, parse, read_config_file
from treeroll.errors import InvalidInput

SERVICE_SECTIONS = ("generator", "coordinator", "store", "scorers")
SECTIONS = ("run", *SERVICE_SECTIONS, "tasks")

Sections = dict[str, dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Settings:
    """A rollout's configuration. `service` holds the sections of the service that was asked for, not yet checked."""

    run: RunConfig
    service: Sections
    tasks: TasksConfig = field(default_factory=TasksConfig)


def layered(file: Path | None, sets: Sequence[str], flags: Mapping[str, Mapping[str, Any]]) -> Sections:
    """All sections that were given, merged. A flag that is None was not given."""
    values = apply_overrides(read_config_file(file) if file else {}, list(sets))
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
