"""The table of record fields: complete, in agreement with messages, types and files, and described as it is."""

from pathlib import Path
from types import UnionType
from typing import Any, get_args, get_type_hints

import pytest
from tests.support.trees import sample_tree

from treeroll.client.columns import nodes_table, samples_table, trees_table
from treeroll.client.records import Reward, TreeRecord, WeightSpan, nodes_of, samples_of
from treeroll.pb.v1 import common_pb2 as pb
from treeroll.records.column import Column, DType, Origin
from treeroll.records.fields import (
    NODE_COLUMNS,
    NOT_SHOWN,
    SAMPLE_COLUMNS,
    TREE_COLUMNS,
    Float32,
    Int32,
    Node,
    Sample,
    TreeRow,
)
from treeroll.records.page import page
from treeroll.why import Why

DOC = Path(__file__).parents[2] / "docs" / "records.md"
MESSAGES = {"Node": pb.Node, "Tree": pb.Tree, "LeafCredit": pb.LeafCredit, "Ledger": pb.Ledger}
TABLES = {Node: NODE_COLUMNS, Sample: SAMPLE_COLUMNS, TreeRow: TREE_COLUMNS}
COLUMNS = tuple(column for table in TABLES.values() for column in table)


def proto_fields() -> list[str]:
    return [f"{name}.{field.name}" for name, message in MESSAGES.items() for field in message.DESCRIPTOR.fields]


@pytest.mark.parametrize("name", proto_fields())
def test_every_field_of_a_message_is_in_a_record_or_is_left_out_for_a_reason(name: str) -> None:
    shown = {column.proto for column in COLUMNS}
    assert (name in shown) != (name in NOT_SHOWN)


def test_only_fields_that_exist_are_read_or_left_out() -> None:
    assert ({column.proto for column in COLUMNS if column.proto} | NOT_SHOWN.keys()) <= set(proto_fields())


@pytest.mark.parametrize("record", TABLES)
def test_types_in_python_are_those_of_the_table(record: type) -> None:
    kinds: dict[DType, Any] = {
        DType.BOOL: bool,
        **dict.fromkeys((DType.INT32, DType.INT64), int),
        **dict.fromkeys((DType.FLOAT32, DType.FLOAT64), float),
        **dict.fromkeys((DType.STRING, DType.TEXT), str),
        DType.JSON: dict[str, Any],
        DType.STRINGS: list[str],
        DType.INT32S: Int32,
        DType.FLOAT32S: Float32,
        DType.SPANS: list[WeightSpan],
        DType.REWARDS: list[Reward],
        DType.SCORES: dict[str, float | None],
        DType.WHY: Why,
    }
    hints = get_type_hints(record)
    for column in TABLES[record]:
        hint = hints[column.name]
        optional = isinstance(hint, UnionType) and type(None) in get_args(hint)
        assert (get_args(hint)[0] if optional else hint) == kinds[column.dtype], column
        assert optional == column.nullable, column


def held(columns: tuple[Column, ...]) -> list[Column]:
    """Columns that are what a field of a message is."""
    worked_out = (Origin.PATH, Origin.CREDIT)
    simple = (DType.INT32, DType.INT64, DType.FLOAT32, DType.FLOAT64, DType.STRING, DType.TEXT)
    return [column for column in columns if column.origin not in worked_out and column.dtype in simple]


def told(column: Column, tree: pb.Tree, leaf: pb.Node) -> Any:
    """Give the column's field a value that no other has."""
    message = leaf if column.message == "Node" else tree
    value = {str: f"<{column.name}>", int: 700 + len(column.name), float: 0.3125}[
        type(getattr(message, column.proto_field))
    ]
    setattr(message, column.proto_field, value)
    return value


@pytest.mark.parametrize("column", held(NODE_COLUMNS), ids=lambda column: column.name)
def test_a_node_has_what_its_message_says_in_python_and_in_parquet(column: Column) -> None:
    tree = sample_tree()
    value = told(column, tree, tree.nodes[-1])
    node = nodes_of(tree)[-1]
    assert getattr(node, column.name) == value
    assert nodes_table([node])[column.name].to_pylist() == [value]


@pytest.mark.parametrize("column", held(SAMPLE_COLUMNS), ids=lambda column: column.name)
def test_a_sample_has_what_its_messages_say_in_python_and_in_parquet(column: Column) -> None:
    tree = sample_tree()
    value = told(column, tree, next(node for node in tree.nodes if node.number == tree.leaves[0].leaf))
    sample = samples_of(tree)[0]
    assert getattr(sample, column.name) == value
    assert samples_table([sample])[column.name].to_pylist() == [value]


@pytest.mark.parametrize("column", held(TREE_COLUMNS), ids=lambda column: column.name)
def test_the_row_of_a_tree_has_what_its_messages_say_in_python_and_in_parquet(column: Column) -> None:
    tree = sample_tree()
    value = told(column, tree.ledger if column.message == "Ledger" else tree, tree.nodes[0])
    row = TreeRecord.from_proto(tree).row()
    assert getattr(row, column.name) == value
    assert trees_table([row])[column.name].to_pylist() == [value]


def test_the_row_of_a_tree_says_what_it_wasted_and_where_it_grew() -> None:
    tree = sample_tree()
    tree.ledger.spent = 10
    tree.nodes[0].ClearField("tout")  # as it is stored
    for node in tree.nodes:
        node.replica_id = f"r{node.number % 2}" if node.number else ""
    row = TreeRecord.from_proto(tree).row()
    assert (row.n_leaves, row.wasted_tokens, row.replicas) == (2, 10 - 2 - 3 - 1, ["r0", "r1"])


def test_what_may_be_missing_is_none_and_null_or_that_of_the_tree() -> None:
    tree = sample_tree()
    for column in held(NODE_COLUMNS):
        if column.nullable:
            tree.nodes[-1].ClearField(column.proto_field)
            assert getattr(nodes_of(tree)[-1], column.name) is None
            assert nodes_table(nodes_of(tree))[column.name].to_pylist()[-1] is None
    tree.model = "small"
    assert (nodes_of(tree)[-1].model, nodes_of(tree)[-1].temperature) == ("small", tree.temperature)


def test_all_fields_are_shown_by_dir_and_none_that_is_unknown_is_made_up() -> None:
    sample = samples_of(sample_tree())[0]
    assert {column.name for column in SAMPLE_COLUMNS} <= set(dir(sample))
    with pytest.raises(AttributeError, match="has no attribute 'rewrads'"):
        sample.rewrads  # type: ignore[attr-defined]  # noqa: B018
    with pytest.raises(AttributeError, match="has no attribute 'reward'"):
        Sample.__new__(Sample).reward  # noqa: B018


def test_the_page_is_current() -> None:
    assert DOC.read_text() == page(), "run: python -m treeroll.records.page > docs/records.md"
