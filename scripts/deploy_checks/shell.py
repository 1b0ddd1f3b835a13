"""Shell scripts that people submit: shellcheck, and each command line of treeroll as the program reads it."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

from . import DEPLOY, programs
from .settings import refused

FILES = sorted([*(DEPLOY / "slurm").glob("*.sbatch"), *(DEPLOY / "ray").glob("*.sh")])
# Up to what ends a command; what stands in quotes may have anything.
COMMAND = re.compile(r"""(?<![\w./-])treeroll ((?:"[^"]*"|\$\(\([^)]*\)\)|[^|;&<>()\n'"])*)""")


def check(file: Path) -> Iterator[str]:
    """A script of bash."""
    yield from programs.shellcheck(file)
    lines = re.sub(r"^\s*#.*$", "", file.read_text(), flags=re.MULTILINE).replace("\\\n", " ")
    for found in COMMAND.finditer(lines):
        # A variable's value is not known here: 1 is a number, a name, and a file.
        words = [re.sub(r"\$\{?\w+\}?", "1", word) for word in shlex.split(found[1])]
        if words and (complaint := refused(words)):
            yield f"`treeroll {' '.join(words)}`: {complaint}"
