"""Drawing trees: readable, coloured by reward, and harmless whatever a model wrote."""

import copy
import io
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console
from tests.support.rollouts import grown_trees
from tests.unit.test_outputs import failed, renamed

from treeroll.cli.console import clip, clip_start, counted, number, plain
from treeroll.cli.drawing import draw
from treeroll.cli.main import app
from treeroll.cli.trees import build, from_results
from treeroll.client import TreeRecord, connect
from treeroll.errors import InvalidInput
from treeroll.results.directory import ResultDir
from treeroll.results.merge import merge
from treeroll.results.parts import PartWriter
from treeroll.results.reader import ResultReader
from treeroll.results.session import Session
from treeroll.testing.service import running_service


def drawn(tree: TreeRecord, *, full: bool = False, color: bool = False) -> str:
    console = Console(file=io.StringIO(), width=160, force_terminal=color, color_system="standard" if color else None)
    console.print(draw(build(tree.nodes, tree.samples), full=full))
    return console.file.getvalue()  # type: ignore[attr-defined,no-any-return]


def mixed() -> TreeRecord:
    """A tree with better and worse leaves."""
    return next(tree for tree in grown_trees() if len({sample.reward for sample in tree.samples}) > 1)


def test_every_leaf_has_a_line_with_reward_and_advantage() -> None:
    tree = mixed()
    text = drawn(tree)
    assert text.count("+ reward 1") == sum(sample.reward == 1 for sample in tree.samples)
    assert text.count("- reward 0") == sum(sample.reward == 0 for sample in tree.samples)
    assert text.count(" adv ") == len(tree.samples)
    assert all(
        words in text for words in (tree.tree_id, tree.task_id, "Compute", f"{len(tree.nodes)} nodes", "sharing")
    )


def test_leaves_are_green_and_red() -> None:
    text = drawn(mixed(), color=True)
    assert "\x1b[32m+ reward 1" in text
    assert "\x1b[31m- reward 0" in text


def test_stretches_without_forks_take_one_line() -> None:
    tree = mixed()
    forks = sum(sum(child.parent_id == node.node_id for child in tree.nodes) > 1 for node in tree.nodes)
    lines = [line for line in drawn(tree).splitlines() if " tok " in line]
    assert len(tree.samples) <= len(lines) <= len(tree.samples) + forks


def test_hostile_text_is_shown_and_not_obeyed() -> None:
    tree = copy.deepcopy(mixed())
    for node in tree.nodes:
        node.text = "\x1b[2J[red]x[/red]\u202egnp\u200b\r\n\x07"
    for text in (drawn(tree), drawn(tree, full=True)):
        assert not {"\x1b", "\u202e", "\u200b", "\x07", "\r"} & set(text)
        assert "\\x1b[2J[red]x[/red]\\u202egnp\\u200b\\r\\n\\x07" in text


def test_unscored_leaves_are_marked() -> None:
    tree = copy.deepcopy(mixed())
    for sample in tree.samples:
        sample.reward, sample.reward_status, sample.advantages = None, "error", None
    assert drawn(tree).count("? reward error") == len(tree.samples)
    assert "? no reward" in drawn(tree)


def test_a_deep_tree_is_no_problem() -> None:
    tree = copy.deepcopy(mixed())
    root, first = tree.nodes[0], tree.nodes[1]
    tree.nodes, above = [root], root
    for depth in range(1, 60):
        for sibling in (0, 1):
            node = copy.copy(first)
            node.path = f"{above.path}.{sibling}".strip(".")
            node.node_id, node.parent_id, node.sibling_index, node.depth = (
                f"t:{depth}.{sibling}",
                above.node_id,
                sibling,
                depth,
            )
            tree.nodes.append(node)
        above = tree.nodes[-2]
    tree.samples = []
    assert drawn(tree).count(" tok ") > 40


@pytest.fixture
def results(tmp_path: Path) -> Path:
    directory = ResultDir(tmp_path)
    PartWriter(directory, 0).write(grown_trees(), Session("run"))
    merge(directory, {})
    return tmp_path


def test_trees_are_found_by_id_beginning_or_task(results: Path) -> None:
    reader = ResultReader.existing(results)
    tree = grown_trees()[2]
    for wanted in (tree.tree_id, tree.tree_id[:8], tree.task_id):
        view = from_results(reader, wanted)
        assert (view.tree_id, view.task_id, view.nodes) == (tree.tree_id, tree.task_id, len(tree.nodes))
    with pytest.raises(InvalidInput, match="there is no tree or task 'nope' here"):
        from_results(reader, "nope")
    with pytest.raises(InvalidInput, match="is the beginning of 6 trees"):
        from_results(reader, "")


def test_without_a_name_a_tree_with_better_and_worse_leaves_is_chosen(results: Path) -> None:
    view = from_results(ResultReader.existing(results), None)
    assert len(set(view.rewards)) > 1


def test_rows_and_records_draw_the_same(results: Path) -> None:
    tree = mixed()
    console = Console(file=io.StringIO(), width=160)
    console.print(draw(from_results(ResultReader.existing(results), tree.tree_id)))
    assert console.file.getvalue() == drawn(tree)  # type: ignore[attr-defined]


def cut(tree: TreeRecord) -> TreeRecord:
    """The same tree of another task, cut by a budget, with two of its leaves."""
    tree = renamed(tree, "cut", "t-cut", "partial")
    return replace(
        tree, samples=tree.samples[:2], n_censored=6, stop_reason="budget", error="the budget \x1b[2J is used up",
        wall_s=2.5,
    )  # fmt: skip


@pytest.fixture
def endings(tmp_path: Path) -> str:
    """A directory with a tree that is whole, one that was cut and one without a sample."""
    first = grown_trees()[0]
    trees = [first, failed(first, "lost", "t-lost"), cut(first)]
    directory = ResultDir(tmp_path)
    PartWriter(directory, 0).write(trees, Session("run"))
    merge(directory, {})
    return str(tmp_path)


def test_a_cut_tree_says_why_and_what_is_missing(endings: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert app.run(["inspect", "cut", "--from", endings, "--full"]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "budget: the budget \\x1b[2J is used up; 2 of at most 8 leaves, 6 branches were cut" in said
    assert app.run(["inspect", grown_trees()[0].task_id, "--from", endings]) == 0
    assert "ended" not in capsys.readouterr().out


def test_a_task_without_a_sample_says_why(endings: str, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("lost", "t-lo"):
        assert app.run(["inspect", name, "--from", endings]) == 0
        said = " ".join(capsys.readouterr().out.split())
        assert "t-lost (failed), task lost" in said
        assert "budget: the budget is used up; 0 of at most 8 leaves" in said


def test_all_tasks_are_listed_those_that_wasted_most_first(endings: str, capsys: pytest.CaptureFixture[str]) -> None:
    def tasks(*options: str) -> list[str]:
        assert app.run(["inspect", "--list", "--from", endings, *options]) == 0
        return [line.split()[0] for line in capsys.readouterr().out.splitlines()[1:]]

    assert tasks() == [grown_trees()[0].task_id, "lost", "cut"]
    assert tasks("--sort", "wasted")[0] == "lost"
    assert tasks("--sort", "seconds")[0] == "cut"
    assert tasks("--sort", "tokens")[0] == grown_trees()[0].task_id


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--list", "--address", "127.0.0.1:1"], "--list is of all trees in a directory"),
        (["t", "--list", "--from", "DIR"], "--list is of all trees in a directory"),
        (["--sort", "wasted", "--from", "DIR"], "--sort is the order of --list"),
    ],
)
def test_options_that_do_not_go_together_are_refused(
    endings: str, capsys: pytest.CaptureFixture[str], options: list[str], words: str
) -> None:
    assert app.run(["inspect", *(endings if option == "DIR" else option for option in options)]) == 2
    assert words in capsys.readouterr().err


def test_a_live_tree_is_drawn(capsys: pytest.CaptureFixture[str]) -> None:
    with running_service() as address, connect(address) as client:
        run = client.create_run("r", recipe="flat", leaves=2, segment_tokens=16, max_depth=2)
        [tree] = run.generate([{"id": "a", "prompt": "x"}]).trees
        assert app.run(["inspect", tree.tree_id, "--address", address]) == 0
        assert "task a" in capsys.readouterr().out
        assert app.run(["inspect", "nope", "--address", address]) == 2
        assert capsys.readouterr().err.startswith("error: there is no tree 'nope'")


def test_small_helpers() -> None:
    assert (clip("abcdef", 4), clip_start("abcdef", 4), clip("abc", 4), clip_start("abc", 4)) == (
        "abc…",
        "…def",
        "abc",
        "abc",
    )
    assert [number(value) for value in (None, 1234, 1.23456)] == ["-", "1,234", "1.235"]
    assert [counted(value, "tree") for value in (1, 2000)] == ["1 tree", "2,000 trees"]
    assert plain("a\u00e9\U0001f600\x00\u2028") == "a\u00e9\U0001f600\\x00\\u2028"
