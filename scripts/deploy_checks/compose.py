"""The compose files and the program: restricted containers, files that are where settings say, known options."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from treeroll.config import parse
from treeroll.errors import TreerollError
from treeroll.service import ServiceConfig

from . import DEPLOY
from .settings import unknown_command, unknown_variables

FOLDER = DEPLOY / "compose"
SETTINGS = FOLDER / "service.yaml"
FILES = sorted(set(FOLDER.glob("*.yaml")) - {SETTINGS})
RESTRICTED = {"read_only": True, "cap_drop": ["ALL"], "security_opt": ["no-new-privileges:true"]}


def check(file: Path) -> Iterator[str]:
    """A compose file that stands alone, and the settings that its service reads."""
    made = yaml.safe_load(file.read_text())
    for name, service in made["services"].items():
        for key, value in RESTRICTED.items():
            if service.get(key) != value:
                yield f"{name}: {key} is {service.get(key)}, not {value}"
        if not service.get("user", "0").partition(":")[0].strip("0"):
            yield f"{name}: runs as root, or as the image says"
        if "mem_limit" not in service:
            yield f"{name}: has no limit of memory"
        for kind in ("secrets", "configs"):
            named = {one["source"] if isinstance(one, dict) else one for one in service.get(kind, [])}
            yield from (f"{name}: {kind} has no {one}" for one in sorted(named - made.get(kind, {}).keys()))
        if "treeroll" in service["image"]:
            own = service.get("entrypoint", []) + service["command"]
            yield from (f"{name}: {what}" for what in unknown_command(own, alone="entrypoint" not in service))
            yield from (f"{name}: {what}" for what in unknown_variables(service.get("environment", {})))
    yield from _misplaced(made["services"]["serve"])


def _misplaced(serve: dict[str, Any]) -> Iterator[str]:
    """Files that the settings name and the service's container has not."""
    try:
        settings = parse(ServiceConfig, yaml.safe_load(SETTINGS.read_text()), SETTINGS.name)
    except TreerollError as error:
        yield str(error)
        return
    access = settings.access
    for key in ("tokens", "certificate", "key"):
        path = getattr(access, key)
        if path is None or path.parent != Path("/run/secrets") or path.name not in serve["secrets"]:
            yield f"{SETTINGS.name}: access.{key} is {path}, which is no secret of serve"
    if settings.coordinator.health_port != 7071:
        yield f"{SETTINGS.name}: coordinator.health_port is not 7071, where the image's health check asks"
