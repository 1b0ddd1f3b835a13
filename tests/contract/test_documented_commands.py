"""Every command that a page shows exists, with every option that it is shown with."""

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import typer.main

from treeroll.cli.main import app

ROOT = Path(__file__).parents[2]
PAGES = sorted([ROOT / "README.md", ROOT / "deploy" / "README.md", *(ROOT / "docs").rglob("*.md")])
COMMAND = typer.main.get_command(app)


def commands(page: Path) -> list[str]:
    """Lines of code blocks that call treeroll, with what continues them."""
    blocks = re.findall(r"^```(?:sh|console|text)?\n(.*?)^```|^    (treeroll [^\n]*)$", page.read_text(), re.M | re.S)
    lines = [line for block in blocks for part in block for line in part.replace("\\\n", " ").splitlines()]
    found = (re.search(r"(?:^|\$ |PYTHONPATH=\S+ )\s*(treeroll [a-z].*)", line) for line in lines)
    return [match[1] for match in found if match]


SHOWN = [(page.relative_to(ROOT).as_posix(), line) for page in PAGES for line in commands(page)]


def test_pages_show_commands() -> None:
    assert len(SHOWN) > 30


@pytest.mark.parametrize(("page", "line"), SHOWN)
def test_a_command_of_a_page_exists_with_its_options(page: str, line: str) -> None:
    words = shlex.split(re.split(r"\s#|\s{3,}|[|;&>]", line)[0].rstrip("\\ "))[1:]
    command: Any = COMMAND
    while getattr(command, "commands", None) and words and not words[0].startswith("-"):
        assert words[0] in command.commands, f"{page}: there is no `treeroll ... {words[0]}`"
        command = command.commands[words.pop(0)]
    known = {name for parameter in command.params for name in (*parameter.opts, *parameter.secondary_opts)} | {"--help"}
    options = [word.partition("=")[0] for word in words if word.startswith("--")]
    assert set(options) <= known, f"{page}: {line}"
