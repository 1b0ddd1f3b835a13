"""docs/recipes has a page for each recipe, and says what the code does."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from treeroll.cli.main import app
from treeroll.cli.recipe_pages import main, pages
from treeroll.policies.recipes import RECIPES
from treeroll.policies.resolve import build_policies

DOCS = Path(__file__).parents[2] / "docs" / "recipes"
REMEDY = "run: python -m treeroll.cli.recipe_pages docs/recipes"


def test_the_pages_are_current():
    assert {path.name: path.read_text() for path in DOCS.iterdir()} == pages(), REMEDY


def test_the_command_writes_all_pages_and_removes_those_of_recipes_that_are_gone(tmp_path):
    (tmp_path / "gone.md").write_text("old")
    main(tmp_path)
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == pages()


def test_a_page_has_rule_parameters_and_what_the_recipe_sets():
    page = pages()["treerl.md"]
    assert "6 answers" in page
    assert "Up to" not in page
    assert "`chains * (1 + places * rounds * forks)` with chains 6, places 2, rounds 1 and forks 2" in page
    assert "| `forks` | `2` | T, new answers per place (int, >= 1, <= 1024) |" in page
    assert "Ours: a place is taken once" in page


@pytest.mark.parametrize("name", sorted(RECIPES))
def test_show_says_how_many_leaves_a_recipe_makes(name):
    shown = " ".join(CliRunner().invoke(app, ["policies", "show", name]).stdout.split())
    most = build_policies(name).branch.max_leaves
    assert f"up to {most} leaves" in shown or f"`leaves`, {most} unless you say" in shown
    assert " ".join(RECIPES[name].about.split()) in shown


@pytest.mark.parametrize("page", sorted(pages()))
def test_lines_wrap_and_no_formula_becomes_a_list(page):
    for line in pages()[page].splitlines():
        if not line.startswith(("|", "    ", "<!--")):
            assert len(line) <= 130
            assert not line.startswith(("+ ", "* ", "> ", "= "))
