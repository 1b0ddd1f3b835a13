"""A page for each recipe, made from its table, its policies' docstrings and their parameters.

python -m treeroll.cli.recipe_pages docs/recipes
"""

import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from treeroll.policies import registry
from treeroll.policies.recipe import Choice, Recipe
from treeroll.policies.recipes import RECIPES
from treeroll.policies.registry import ParameterRow, PolicyRow
from treeroll.policies.resolve import SECTIONS, build_policies
from treeroll.policy.width import LeafCount

WIDTH = 120
MADE_BY = "<!-- Made by `python -m treeroll.cli.recipe_pages docs/recipes`; change the docstrings instead. -->"


def leaves(recipe: Recipe) -> str:
    """How many leaves a tree of the recipe has, as a sentence."""
    branch = build_policies(recipe.name).branch
    count: LeafCount | None = getattr(branch, "leaf_count", None)
    if count is None:
        return f"A tree has up to as many leaves as the run's `leaves`, {branch.max_leaves} unless you say."
    return f"A tree has up to {branch.max_leaves} leaves: `{count.rule}` with {count.described()}."


def pages() -> dict[str, str]:
    """File names and what is in them: a page per recipe, and a list of all."""
    return {"README.md": _contents(), **{f"{name}.md": _page(recipe) for name, recipe in RECIPES.items()}}


def _contents() -> str:
    rows = [(f"[{r.name}]({r.name}.md)", r.summary, _leaf_rule(r), r.paper) for r in RECIPES.values()]
    head = "What each `--recipe` does, where it is from, and which of it is ours; how many leaves a tree has at most."
    return "\n".join([
        "# Recipes", "", MADE_BY, "", head, "", *_table(("recipe", "what", "leaves", "source"), rows), ""
    ])  # fmt: skip


def _leaf_rule(recipe: Recipe) -> str:
    branch = build_policies(recipe.name).branch
    count: LeafCount | None = getattr(branch, "leaf_count", None)
    return f"{branch.max_leaves}: `{count.rule if count else 'leaves'}`"


def _page(recipe: Recipe) -> str:
    rows = [("limits", "", _settings(asdict(recipe.limits)))]
    if recipe.top_logprobs:
        rows.append(("sampling", "", _settings({"top_logprobs": recipe.top_logprobs})))
    known = {(row.kind, row.name): row for row in registry.describe()}
    choices: dict[str, Choice] = {section: getattr(recipe, section) for section in SECTIONS}
    for section, choice in choices.items():
        rows.append((section, f"`{choice.name}`", _settings(choice.params)))
    return "\n".join([
        f"# {recipe.name}", "", MADE_BY, "",
        *_wrapped(f"{_sentence(recipe.summary)} {leaves(recipe)}"), "",
        *_wrapped(f"Source: {recipe.paper}. {recipe.about}"), "",
        f"    treeroll rollout tasks.jsonl --out out --recipe {recipe.name} --scorer math", "",
        *_table(("section", "policy", "other than the policy's default"), rows), "",
        *_policy("Growth", known["branch", recipe.branch.name], recipe.branch.params),
        *_policy("Credit", known["advantage", recipe.advantage.name], recipe.advantage.params),
        "## Segments and ends", "",
        *_brief(known["segment", recipe.segment.name]), *_brief(known["prune", recipe.prune.name]),
    ])  # fmt: skip


def _policy(what: str, row: PolicyRow, chosen: Mapping[str, object]) -> Iterator[str]:
    yield from (f"## {what}: `{row.name}`", "")
    for paragraph in row.rule:
        yield from (*_wrapped(_escaped(paragraph)), "")
    if row.parameters:
        cells = [(f"`{one.name}`", _here(one, chosen), _meaning(one)) for one in row.parameters]
        yield from (*_table(("parameter", "here", "what it is"), cells), "")


def _brief(row: PolicyRow) -> Iterator[str]:
    yield from _wrapped(f"- `{row.name}`: {row.summary}. `treeroll policies show {row.name}`", "  ")
    yield ""


def _here(row: ParameterRow, chosen: Mapping[str, object]) -> str:
    value = str(chosen[row.name]) if row.name in chosen else row.default
    return f"`{value}`" if value else ""


def _meaning(row: ParameterRow) -> str:
    allowed = ", ".join(part for part in (row.type, row.bounds) if part)
    return f"{row.description} ({allowed})"


def _settings(values: Mapping[str, object]) -> str:
    return ", ".join(f"`{key}={value}`" for key, value in values.items()) or "-"


def _sentence(words: str) -> str:
    return f"{words[:1].upper()}{words[1:].rstrip('.')}."


def _table(titles: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    yield f"| {' | '.join(titles)} |"
    yield "|---" * len(titles) + "|"
    for row in rows:
        yield f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |"


def _escaped(words: str) -> str:
    """Formulas are no emphasis, except in code."""
    parts = words.split("`")
    return "`".join(part if at % 2 else part.replace("*", r"\*").replace("_", r"\_") for at, part in enumerate(parts))


def _wrapped(words: str, indent: str = "") -> list[str]:
    """Lines of WIDTH characters at most; what begins a list or a heading in Markdown stays in the line before.

    Code is one word.
    """
    lines, line = [], ""
    for word in re.findall(r"(?:[^\s`]|`[^`]*`)+", words):
        special = re.fullmatch(r"[-+#>]|\\?\*|\d+[.)]|=+", word)
        if line and len(line) + 1 + len(word) > WIDTH and not special:
            lines.append(line)
            line = f"{indent}{word}"
        else:
            line = f"{line} {word}" if line else word
    return [*lines, line]


def main(folder: Path) -> None:
    """Write all pages, and remove those of recipes that are gone."""
    folder.mkdir(parents=True, exist_ok=True)
    made = pages()
    for old in folder.glob("*.md"):
        if old.name not in made:
            old.unlink()
    for name, text in made.items():
        (folder / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
