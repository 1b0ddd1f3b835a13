"""Why a node is there and why it ended, in sentences, wherever its record comes from."""

from dataclasses import asdict

import pytest
from tests.support.recorded_world import RecordedWorld
from typer.testing import CliRunner

from treeroll.cli.drawing import why
from treeroll.cli.trees import build
from treeroll.client.columns import nodes_table
from treeroll.client.records import TreeRecord
from treeroll.core.model.budget import Budget
from treeroll.errors import InvalidInput
from treeroll.policies.registry import sentences
from treeroll.policy.base import Limits
from treeroll.results import explain

LIMITS = Limits(leaves=8, segment_tokens=32, max_depth=4, max_tokens=128)
SAID = sentences()


def grown(recipe: str = "treepo", **settings: object) -> list[TreeRecord]:
    world = RecordedWorld(recipe=recipe, limits=LIMITS, end_share=0.02, **settings)  # type: ignore[arg-type]
    world.run()
    return [TreeRecord.from_proto(world.tree(tree_id)) for tree_id in world.finished]


def rows_of(tree: TreeRecord) -> list[dict[str, object]]:
    """As a result directory has its nodes."""
    return nodes_table(tree.nodes).to_pylist()


def test_records_and_rows_of_files_say_the_same_of_every_node() -> None:
    for tree in grown(tasks=4):
        records, rows, row = [asdict_of(node) for node in tree.nodes], rows_of(tree), asdict(tree.row())
        for record in records:
            path = record["path"]
            one, other = (explain.lineage(nodes, path) for nodes in (records, rows))
            assert [node["path"] for node in one] == [node["path"] for node in other]
            assert explain.begun(one, SAID) == explain.begun(other, SAID)
            assert explain.waited(one[-1]) == explain.waited(other[-1])
            assert explain.ended(one[-1], row, SAID) == explain.ended(other[-1], row, SAID)


def asdict_of(node: object) -> dict[str, object]:
    return {name: getattr(node, name) for name in node.__slots__}  # type: ignore[attr-defined]


def test_a_fork_says_its_rule_and_a_node_further_on_which_branch_it_is_of() -> None:
    [tree] = grown(tasks=1)
    rows = rows_of(tree)
    said = {row["path"]: explain.begun(explain.lineage(rows, row["path"]), SAID) for row in rows}
    assert said[""] == "the prompt"
    assert said["0"].startswith(
        "one of the first branches, by what was known at its boundary: its policy begins a tree"
    )
    fork = next(row for row in rows if row["branch_reason"] == "fork" and row["sibling_index"])
    assert "live paths" in said[fork["path"]]
    assert said[fork["path"]].startswith("a fork, by what was known at its boundary: at step ")
    below = next((row for row in rows if row["path"] == f"{fork['path']}.0"), None)
    if below is not None:
        assert said[below["path"]].startswith(f"its branch ran on from {fork['path']}, a fork, by ")
    ends = [explain.ended(row, asdict(tree.row()), SAID) for row in rows]
    assert all((end is not None) == (row["status"] != "inner") for end, row in zip(ends, rows, strict=True))
    assert any(end and end.startswith("a leaf (eos): the model ended the text after ") for end in ends)


def test_what_a_budget_cut_says_what_was_needed_and_what_was_left() -> None:
    [tree] = grown(tasks=1, budget=Budget(tokens=300))
    rows, row = rows_of(tree), asdict(tree.row())
    ends = [explain.ended(node, row, SAID) for node in rows]
    assert any(end and "tokens may be needed, and the run's budget has" in end for end in ends)


def test_where_no_reason_was_recorded_that_is_said_and_none_is_made_up() -> None:
    node = {"path": "0", "branch_reason": "fork", "decision": "boundary", "sibling_index": 0, "status": "open"}
    assert explain.begun([{"path": ""}, node], SAID).endswith("; no reason is recorded (begun at the prompt)")
    assert explain.waited(node) is None
    assert explain.ended(node, {}, SAID) == "it waited for a decision, and its policy ended the tree without one"
    assert explain.ended(node, {"growing": True}, SAID) == "it goes on, or waits for others"
    cut = explain.ended(node, {"stop_reason": "cancelled", "error": "the run was cancelled"}, SAID)
    assert cut == "it was cut with its tree (cancelled): the run was cancelled"


def test_an_allotment_is_said_with_its_terms() -> None:
    why_ = {"rule": "uniform.same", "terms": [{"name": "leaves", "value": 8.0}]}
    assert explain.allotted({"allotted_leaves": 8, "allotted_by": why_}, SAID) == "8 leaves: every task gets 8 leaves"
    assert explain.allotted({"allotted_leaves": 0, "allotted_by": None}, SAID) is None


def test_inspect_says_why_of_a_node_and_refuses_one_that_is_not_there() -> None:
    from rich.console import Console

    [tree] = grown(tasks=1)
    view = build(tree.nodes, tree.samples, tree.row())
    console = Console(record=True, width=400)
    console.print(why(view, "0"))
    text = console.export_text()
    assert "begun   one of the first branches" in text
    assert "waited  " in text
    with pytest.raises(InvalidInput, match=r"has no node 9\.9"):
        why(view, "9.9")


def test_why_is_of_one_node_only() -> None:
    from treeroll.cli.main import app

    result = CliRunner().invoke(app, ["inspect", "--from", "nowhere", "--list", "--why", "0"])
    assert result.exit_code != 0
