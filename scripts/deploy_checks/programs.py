"""What other programs say: helm, hadolint, yamllint, check-jsonschema, shellcheck."""

import subprocess
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import yaml

from . import DEPLOY, ROOT

CHART = DEPLOY / "helm" / "treeroll"


class HelmRefused(Exception):
    """Helm does not render these values; says why."""


def render(values: Path, sets: Iterable[str] = ()) -> list[Any]:
    """The objects that the chart makes of a file of values. HelmRefused if it makes none."""
    chosen = [part for one in sets for part in ("--set-json", one)]
    command = ["helm", "template", "trees", str(CHART), "--namespace", "rollouts", "--values", str(values), *chosen]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise HelmRefused(done.stderr.strip())
    return [thing for thing in yaml.load_all(done.stdout, yaml.CSafeLoader) if thing]


def lint_chart(values: Path, chart: Path = CHART) -> Iterator[str]:
    """helm lint --strict."""
    yield from _run(["helm", "lint", "--strict", "--quiet", str(chart), "--values", str(values)])


def lint_dockerfiles(files: Iterable[Path]) -> Iterator[str]:
    """hadolint, by deploy/docker/hadolint.yaml where there is one."""
    for file in files:
        settings = DEPLOY / "docker" / "hadolint.yaml"
        chosen = ["--config", str(settings)] if settings.exists() else []
        yield from _run(["hadolint", *chosen, str(file)])


def lint_yaml(files: Iterable[Path]) -> Iterator[str]:
    """yamllint --strict, by deploy/yamllint.yaml."""
    yield from _run(["yamllint", "--strict", "-f", "parsable", "-c", str(DEPLOY / "yamllint.yaml"), *map(str, files)])


def check_compose(files: Iterable[Path]) -> Iterator[str]:
    """Against the schema of the compose specification."""
    yield from _run(["check-jsonschema", "--builtin-schema", "vendor.compose-spec", *map(str, files)])


def shellcheck(file: Path) -> Iterator[str]:
    """As scripts/check does it."""
    yield from _run(["shellcheck", "--shell=bash", str(file)])


def _run(command: list[str]) -> Iterator[str]:
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    if done.returncode:
        yield f"{command[0]}: {(done.stdout + done.stderr).strip()}"
