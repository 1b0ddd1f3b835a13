"""The page on record fields, made from the table.

python -m treeroll.records.page > docs/records.md
"""

from collections.abc import Sequence

from treeroll.records.column import Column, Origin
from treeroll.records.decision import DECISION_COLUMNS
from treeroll.records.fields import NODE_COLUMNS, NOT_SHOWN, SAMPLE_COLUMNS, SCHEMA_VERSION, TREE_COLUMNS

_HEAD = f"""# Records

Made by `python -m treeroll.records.page`; the table is `treeroll/records/fields.py`. Schema version {SCHEMA_VERSION},
which Parquet files carry as `treeroll.schema_version` in their metadata.

The same fields are attributes of `Sample`, `Node` and `TreeRow` (`TreeRecord.row()`) in Python and columns of
`samples.parquet`, `nodes.parquet` and `trees.parquet`, in this order; those of a decision are columns of
`events.parquet`. In Python a list of numbers is a numpy array, `extra` a dictionary, `rewards` of a sample one from
scorer to value, and null is None. [N] are the tokens of the node, [C] those of the completion, [P] those of the prompt.

"from" says where a value comes from: a message field in `protos/`, {Origin.PATH}, worked out from the nodes of the
path, or {Origin.LOG}, the service's log of decisions. A value marked {Origin.CREDIT} follows the rewards in force, so
that writing rewards back may change it.
"""

_KINDS = """A kind says what was decided:

| kind | |
|---|---|
| `started` | the tree began on a replica, with so many leaves |
| `forked` | a branch began; `path` is its first node |
| `granted` | a branch got a slot of a replica |
| `masked` | a branch may not go on: an account of the budget has too little room for it |
| `ended_path` | a path ended in a leaf, or was discarded |
| `let_end` | a path was held, and nothing goes on behind it |
| `lost` | a grant ended with its replica; the branch is granted anew |
| `cut` | a branch that waited was given up |
| `stopped` | all branches of the tree were stopped |
| `ended` | the tree ended |

Segments that only run on are no decisions. The file is not there if the service logs none (`store.events_mb` is 0), or
if the rollout cannot read its store; why rows are missing, if any are, is said at the end of the rollout and in
`summary.json` (`decisions_missing`).
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
        "## Decision\n\nWhat a service decided of the trees, in `events.parquet`, in the order of its commits.\n",
        _table(DECISION_COLUMNS),
        _KINDS,
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
