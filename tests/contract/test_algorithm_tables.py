"""The tables of docs/algorithms-*.md speak of every policy of the kinds they are about, and of no other."""

import re
from pathlib import Path

from treeroll.policies import registry

DOCS = Path(__file__).parents[2] / "docs"
PAGES = ("algorithms-growth.md", "algorithms-budgets.md")
SECTIONS = [section for page in PAGES for section in (DOCS / page).read_text().split("\n## ")[1:]]


def first_column(title):
    section = next(text for text in SECTIONS if text.startswith(title))
    cells = re.findall(r"^\| (`[^|]*)\|", section, re.M)
    return [name for cell in cells for name in re.findall(r"`(\w+)`", cell)]


def names(kind):
    return {policy.name for policy in registry.POLICIES[kind]}


def test_every_growth_policy_has_a_row_and_a_use_of_its_leaves():
    assert set(first_column("Growth")) == names("branch")
    assert set(first_column("What the leaves may be used for")) == names("branch")


def test_every_segment_policy_has_a_row():
    assert set(first_column("Segments")) == names("segment")


def test_every_prune_policy_has_a_row():
    assert set(first_column("Ends of paths")) == names("prune")


def test_every_allocator_has_a_row():
    assert set(first_column("Across tasks")) == names("allocate")


def test_every_route_has_a_row():
    assert set(first_column("Between models")) == names("route")
