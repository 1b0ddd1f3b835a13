"""Files for Ray's own launcher, by Ray's schema of them and its command line."""

import json
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import ray.autoscaler
import yaml
from ray.scripts.scripts import cli

from . import DEPLOY

CLUSTER = DEPLOY / "ray" / "cluster.yaml"
SCHEMA = Path(ray.autoscaler.__file__).with_name("ray-schema.json")


def check(file: Path) -> Iterator[str]:
    """A cluster's file: known keys, and commands that `ray` takes; a cluster that wants its token."""
    made = yaml.safe_load(file.read_text())
    for error in jsonschema.Draft7Validator(json.loads(SCHEMA.read_text())).iter_errors(made):
        yield f"{'.'.join(map(str, error.absolute_path)) or 'the file'}: {error.message[:300]}"
    for key in ("head_start_ray_commands", "worker_start_ray_commands"):
        lines = made.get(key, [])
        yield from (f"{key}: `{line}`: {what}" for line in lines for what in refused(line))
        if not any("RAY_AUTH_MODE=token" in line and " start " in line for line in lines):
            yield f"{key}: Ray is started without RAY_AUTH_MODE=token"


def refused(line: str) -> Iterator[str]:
    """Why `ray` does not take the words that a line of shell gives it. Nothing is run."""
    for found in re.finditer(r"\bray ((?:start|stop|job)\b[^;&|]*)", line):
        name, *words = shlex.split(found[1])
        command: Any = cli.commands[name]
        try:
            if hasattr(command, "commands"):
                command, words = command.commands[words[0]], words[1:]
            command.make_context(name, words, resilient_parsing=False)
        except Exception as error:
            if not hasattr(error, "format_message"):
                raise
            yield str(error.format_message())
