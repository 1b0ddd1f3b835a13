"""Dockerfiles, as far as that goes without building them: whom the image runs as, what it runs, what it copies."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

from . import DEPLOY, ROOT
from .settings import refused

DOCKERFILES = sorted((DEPLOY / "docker").glob("*.Dockerfile"))
USER = "10001:10001"
BUILDERS = re.compile(r"\b(g\+\+|gcc|build-essential|cmake|python3-dev|python3-venv|python3-pip)(?=\s|$)")
# Its kernels are compiled where they run.
MAY_BUILD = {"cuda"}


def check(file: Path) -> Iterator[str]:
    """A Dockerfile, beside its .dockerignore, which lists what is let through."""
    where, text = file.name, re.sub(r"\\\n|^#.*\n", "", file.read_text(), flags=re.MULTILINE)
    stages = _stages(text)
    last = stages[-1]
    if re.findall(r"^USER (.+)$", last, re.MULTILINE) != [USER]:
        yield f"{where}: the image does not run as {USER}"
    if "ARG BASE=" not in text.partition("FROM")[0]:
        yield f"{where}: its base cannot be chosen by ARG BASE"
    if file.name.partition(".")[0] not in MAY_BUILD and BUILDERS.search(stages[0] + last):
        yield f"{where}: the image has tools to build with"
    health = re.search(r"^HEALTHCHECK (?:.* )?(?:NONE|CMD (\[.*\]))$", last, re.MULTILINE)
    if health is None:
        yield f"{where}: the image says nothing of its health"
    for words in (_words(last, "ENTRYPOINT") + _words(last, "CMD"), json.loads((health and health[1]) or "[]")):
        own = words[words.index("treeroll") + 1 :] if words else ["--help"]
        if own != ["--help"] and (complaint := refused(own)):
            yield f"{where}: `{' '.join(words)}`: {complaint}"
    yield from (f"{where}: copies {source}, {why}" for source, why in _not_to_be_had(file, text))


def _stages(text: str) -> list[str]:
    """From each FROM to the next; the first is what the last one stands on."""
    return re.split(r"^(?=FROM )", text, flags=re.MULTILINE)[1:]


def _words(stage: str, instruction: str) -> list[str]:
    found = re.search(rf"^{instruction} (\[.*\])$", stage, re.MULTILINE)
    return list(json.loads(found[1])) if found else []


def _not_to_be_had(file: Path, text: str) -> Iterator[tuple[str, str]]:
    ignore = file.with_name(f"{file.name}.dockerignore")
    let_through = [line[1:] for line in ignore.read_text().splitlines() if line.startswith("!")]
    for line in re.findall(r"^COPY (?!--from)(.+) \S+$", text, re.MULTILINE):
        for source in line.split():
            if not (ROOT / source).exists():
                yield source, "which is not there"
            elif source not in let_through:
                yield source, f"which {ignore.name} leaves out"
