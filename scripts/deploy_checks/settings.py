"""The chart and the program: each setting, option and variable that the one gives is one that the other has."""

import json
import re
from collections.abc import Iterable, Iterator
from typing import Any

import typer
import yaml

from treeroll.cli import main
from treeroll.cli.settings import layered
from treeroll.client import channel
from treeroll.config import parse
from treeroll.errors import TreerollError
from treeroll.service import ServiceConfig

from . import ROOT, launcher
from .objects import Object, containers, name

SCHEMA = ROOT / "deploy" / "helm" / "treeroll" / "values.schema.json"
# Prefix of the definitions in the schema that are the program's.
OURS = "settings."
# What goes with the chart's own pods, so that nobody else may set it.
CHARTS = {
    "coordinator": ("host", "port", "health_port", "standby", "temp_dir"),
    "store": ("url", "dir"),
    "access": ("tokens", "certificate", "key", "ca"),
    "dashboard": ("host", "port"),
}
VARIABLES = {value for key, value in vars(channel).items() if key.endswith("_VARIABLE")}


def schema_text() -> str:
    """values.schema.json with the settings that the program has now."""
    schema = json.loads(SCHEMA.read_text())
    kept = {key: value for key, value in schema["$defs"].items() if not key.startswith(OURS)}
    return json.dumps(schema | {"$defs": kept | dict(_definitions())}, indent=1) + "\n"


def _definitions() -> Iterator[tuple[str, Any]]:
    made = ServiceConfig.model_json_schema(ref_template=f"#/$defs/{OURS}{{model}}")
    models = made.pop("$defs")
    for section, keys in CHARTS.items():
        own = models[made["properties"][section]["$ref"].rpartition(OURS)[2]]["properties"]
        for key in keys:
            del own[key]
    yield from ((OURS + model, _bare(value)) for model, value in models.items())
    yield f"{OURS}ServiceConfig", _bare(made)


def _bare(value: Any) -> Any:
    """Without what says nothing about validity: defaults, of which some are this machine's paths, titles, texts."""
    if isinstance(value, list):
        return [_bare(item) for item in value]
    if not isinstance(value, dict):
        return value
    properties = {key: _bare(item) for key, item in value.get("properties", {}).items()}
    rest = {
        key: _bare(item)
        for key, item in value.items()
        if key not in ("default", "title", "description", "format", "properties")
    }
    return rest | ({"properties": properties} if "properties" in value else {})


def schema_drift() -> Iterator[str]:
    """The chart's schema against the program's models."""
    if SCHEMA.read_text() != schema_text():
        yield f"{SCHEMA.relative_to(ROOT)} has other settings than the program: run scripts/check-deploy --fix"


def unknown_settings(objects: list[Object]) -> Iterator[str]:
    """service.yaml of rendered ConfigMaps, read as the program reads it."""
    for thing in objects:
        for file, text in thing.get("data", {}).items() if thing["kind"] == "ConfigMap" else ():
            if file.endswith(".yaml"):
                try:
                    parse(ServiceConfig, yaml.safe_load(text), f"{file} of {name(thing)}")
                except TreerollError as error:
                    yield str(error)


def unknown_options(objects: list[Object]) -> Iterator[str]:
    """Arguments of containers, read as the program reads them; and variables that are to be its own."""
    for where, container in containers(objects):
        words = [*container.get("command", []), *container.get("args", [])]
        alone = bool(container.get("args")) and not container.get("command")
        yield from (f"{where}: {what}" for what in unknown_command(words, alone=alone))
        yield from (f"{where}: ray: {what}" for what in launcher.refused(" ".join(words)))
        names = [variable["name"] for variable in container.get("env", [])]
        yield from (f"{where}: {what}" for what in unknown_variables(names))


def unknown_command(words: list[str], *, alone: bool) -> Iterator[str]:
    """`words` are what the image's entry point is given (`alone`), or a command line with treeroll somewhere in it."""
    for command in [words] if alone else _commands(words):
        if complaint := refused([word.strip("'\"") for word in command]):
            yield f"`treeroll {' '.join(command)}`: {complaint}"


def unknown_variables(names: Iterable[str]) -> Iterator[str]:
    """Of those that begin as the program's own."""
    for variable in names:
        if variable.startswith("TREEROLL_") and variable not in VARIABLES:
            yield f"the program reads no variable {variable}"


def _commands(words: list[str]) -> Iterator[list[str]]:
    """Of treeroll, alone or in a line for a shell."""
    text = " ".join(words)
    for found in re.finditer(r"\btreeroll ((?:[a-z]|--)[^;&|]*)", text):
        yield found[1].split()


def refused(words: list[str]) -> str | None:
    """Why the command line does not take these words, or the program these settings; None: they do. Nothing is run."""
    command: Any = typer.main.get_command(main.app)
    try:
        while hasattr(command, "commands"):
            if words and words[0] in command.commands:
                command, words = command.commands[words[0]], words[1:]
            elif command.invoke_without_command and words and words[0].startswith("-"):
                break
            else:
                return f"there is no command '{words[0] if words else ''}'"
        given = command.make_context(command.name, list(words), resilient_parsing=False).params.get("sets")
        parse(ServiceConfig, layered(None, given or [], {}), "--set")
    except TreerollError as error:
        return str(error)
    except Exception as error:
        if not hasattr(error, "format_message"):
            raise
        return str(error.format_message())
    return None


def check(objects: list[Object]) -> Iterator[str]:
    """Both."""
    yield from unknown_settings(objects)
    yield from unknown_options(objects)
