"""Whoever looks for a page finds it: every page is in the site's navigation or on the list of its folder."""

import re
from pathlib import Path

import pytest
import yaml

from treeroll.core.model.branch import BRANCH_TABLE

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"


def named(nav: object) -> set[str]:
    """The pages of mkdocs' navigation."""
    if isinstance(nav, str):
        return {nav}
    parts = nav.values() if isinstance(nav, dict) else nav if isinstance(nav, list) else ()
    return set().union(*(named(part) for part in parts))


def test_every_page_is_in_the_navigation() -> None:
    site = yaml.safe_load((ROOT / "scripts" / "mkdocs.yml").read_text())
    pages = {path.relative_to(DOCS).as_posix() for path in DOCS.glob("*.md")}
    pages |= {path.relative_to(DOCS).as_posix() for path in DOCS.glob("reference/*.md")}
    pages |= {path.relative_to(DOCS).as_posix() for path in DOCS.glob("integrations/*.md")}
    assert pages <= named(site["nav"])


@pytest.mark.parametrize("folder", ["decisions", "recipes"])
def test_every_page_of_a_folder_is_on_its_list(folder: str) -> None:
    linked = set(re.findall(r"\]\(([\w-]+\.md)\)", (DOCS / folder / "README.md").read_text()))
    assert linked == {path.name for path in (DOCS / folder).glob("*.md")} - {"README.md"}


@pytest.mark.parametrize("page", ["docs/guarantees.md", "deploy/README.md"])
def test_tests_that_a_page_names_are_there(page: str) -> None:
    named_tests = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", (ROOT / page).read_text())
    assert named_tests
    for file, test in named_tests:
        assert re.search(rf"^(async )?def {test}\(", (ROOT / file).read_text(), re.MULTILINE), f"{file}::{test}"


def test_links_of_the_readme_lead_somewhere() -> None:
    for target in re.findall(r"\]\(((?!http)[^)#]+)", (ROOT / "README.md").read_text()):
        assert (ROOT / target).exists(), target


def test_the_page_about_branches_has_the_table_that_the_core_goes_by() -> None:
    page = (DOCS / "architecture.md").read_text()
    head = "| state | event | next state | how the grant ended |"
    shown = [
        [cell.strip() for cell in row.strip("|").split("|")]
        for row in page.split(head)[1].split("\n\n")[0].splitlines()[2:]
    ]
    assert shown == [[str(s), str(e), str(to), str(end or "")] for (s, e), (to, end) in BRANCH_TABLE.items()]
