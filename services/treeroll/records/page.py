"""The page on record fields, made from the table.

python -m treeroll.records.page > docs/records.md
"""

from collections.abc import Sequence

from treeroll.records.column import Column, Origin
from treeroll.records.fields import NODE_COLUMNS, NOT_SHOWN, SAMPLE_COLUMNS, SCHEMA_VERSION, TREE_COLUMNS

_HEAD = f"""# Records

Made by `python -m treeroll.records.page`; the table is `treeroll/records/fields.py`. Schema version {SCHEMA_VERSION},
which Parquet files carry as `treeroll.schema_version` in their metadata.

The same fields are attributes of `Sample`, `Node` and `TreeRow` (`TreeRecord.row()`) in Python and columns of
`samples.parquet`, `nodes.parquet` and `trees.parquet`, in this order. In Python a list of numbers is a numpy array,
`extra` a dictionary, `rewards` of a sample one from scorer to value, and null is None. [N] are the tokens of the node,
[C] those of the completion, [P] those of the prompt.

"from" says where a value comes from: a message field in `protos/`, or {Origin.PATH}, worked out from the nodes of the
path. A value marked {Origin.CREDIT} follows the rewards in force, so that writing rewards back may change it.
"""


def page() -> str:
    """The page as Markdown."""
    unseen = "\n".join(f"| `{name}` | {why} |" for name, why in NOT_SHOWN.items())
    return "\n".join([
        _HEAD,
        "## Sample\n\nA path from the root to a complete leaf.\n",
        _table(SAMPLE_COLUMNS),
        "## Node\n\nA segment. The root holds the prompt, every other node its own tokens only.\n",
        _table(NODE_COLUMNS),
        "## Tree\n\nWhat became of a task: in `trees.parquet`, one that ended without a sample included.\n",
        _table(TREE_COLUMNS),
        "## What no record shows\n",
        f"| message field | what it is |\n|---|---|\n{unseen}\n",
    ])  # fmt: skip


def _table(columns: Sequence[Column]) -> str:
    rows = ["| field | type | from | |", "|---|---|---|---|", *map(_row, columns), ""]
    return "\n".join(rows)


def _row(column: Column) -> str:
    shape = f" [{column.shape}]" if column.shape else ""
    unit = f", {column.unit}" if column.unit else ""
    nullable = ", or null" if column.nullable else ""
    return f"| `{column.name}` | {column.dtype}{shape}{unit}{nullable} | {_source(column)} | {column.sentence} |"


def _source(column: Column) -> str:
    source = f"`{column.proto}`" if column.proto else str(column.origin)
    return f"{source}, {column.origin}" if column.origin is Origin.CREDIT else source


if __name__ == "__main__":
    print(page(), end="")
