"""The picture of a tree: a block for every node, to scale, and harmless whatever a model wrote."""

import copy
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

from tests.support.rollouts import grown_trees
from typer.testing import CliRunner

from treeroll.cli.main import app
from treeroll.cli.picture import MARGIN, PROMPT, UNSCORED, WIDTH, svg
from treeroll.cli.trees import TreeView, build
from treeroll.errors import InvalidInput
from treeroll.results.directory import ResultDir
from treeroll.results.merge import merge
from treeroll.results.parts import PartWriter
from treeroll.results.session import Session

SVG = "{http://www.w3.org/2000/svg}"


def view() -> TreeView:
    """A tree with better and worse leaves."""
    tree = next(tree for tree in grown_trees() if len({sample.reward for sample in tree.samples}) > 1)
    return build(tree.nodes, tree.samples)


def blocks(picture: str) -> list[ElementTree.Element]:
    root = ElementTree.fromstring(picture)  # noqa: S314 - we made it
    return [rect for rect in root.iter(f"{SVG}rect") if rect.get("class") == "grown"]


def test_every_node_is_a_block_whose_width_is_its_tokens() -> None:
    tree = view()
    found = blocks(svg(tree))
    assert len(found) == tree.nodes
    lengths = [float(rect.get("width", 0)) for rect in found[1:]]
    ends = [float(rect.get("x", 0)) + float(rect.get("width", 0)) for rect in found[1:]]
    assert abs(max(ends) - (WIDTH - MARGIN)) < 0.2
    scale = (WIDTH - PROMPT - MARGIN) / max(tree.sample_tokens)
    assert abs(sum(lengths) - scale * tree.unique_tokens) < 0.1 * len(lengths)


def test_lanes_of_the_leaves_do_not_overlap_and_cover_the_prompt() -> None:
    found = blocks(svg(view()))
    prompt, rest = found[0], found[1:]
    leaves = [rect for rect in rest if float(rect.get("height", 0)) <= 28]
    tops = sorted({float(rect.get("y", 0)) for rect in leaves})
    assert len(tops) * 28 == float(prompt.get("height", 0))


def test_a_tree_without_rewards_is_grey() -> None:
    tree = view()
    places = [tree.root]
    while places:
        node = places.pop()
        places += node.children
        node.leaf = replace(node.leaf, reward=None) if node.leaf else None
    found = blocks(svg(replace(tree, rewards=[None] * len(tree.rewards))))
    assert {rect.get("fill") for rect in found[1:]} == {UNSCORED}


def test_hostile_text_is_text() -> None:
    hostile = '</text><script>alert(1)</script>&amp;\x1b[31m\x00\u202e"]]>'
    tree = copy.deepcopy(view())
    places = [tree.root]
    while places:
        node = places.pop()
        places += node.children
        node.text = hostile
    picture = svg(replace(tree, prompt=hostile, task_id=hostile))
    root = ElementTree.fromstring(picture)  # noqa: S314 - we made it, and it must be well-formed
    assert {element.tag.removeprefix(SVG) for element in root.iter()} == {"svg", "style", "rect", "title", "text"}
    assert not any(character in picture for character in "\x1b\x00\u202e")


def test_inspect_writes_the_picture(tmp_path: Path) -> None:
    directory = ResultDir(tmp_path / "out")
    directory.parts.mkdir(parents=True)
    PartWriter(directory, 0).write(grown_trees(), Session("run"))
    merge(directory, {})
    done = CliRunner().invoke(app, ["inspect", "--from", str(directory.path), "--svg", str(tmp_path / "tree.svg")])
    assert done.exit_code == 0, done.output
    assert blocks((tmp_path / "tree.svg").read_text())
    lost = CliRunner().invoke(app, ["inspect", "--from", str(directory.path), "--svg", str(tmp_path / "no" / "t.svg")])
    assert isinstance(lost.exception, InvalidInput)
