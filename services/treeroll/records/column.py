"""Column: what one field of a record is. `fields.py` has the table; its readers, schemas and pages are made from it."""

from collections.abc import Callable
from dataclasses import dataclass, field, fields
from enum import StrEnum
from types import NoneType
from typing import Any, Protocol, TypeVar, dataclass_transform, get_args


class DType(StrEnum):
    """How a value is written in Parquet; per-token kinds are numpy arrays in Python."""

    BOOL = "bool"
    INT32 = "int32"
    INT64 = "int64"
    FLOAT32 = "float32"
    FLOAT64 = "float64"
    STRING = "string"
    TEXT = "text"  # a string of a task's or a model's: hostile input
    JSON = "JSON"  # a mapping in Python, a string in Parquet
    STRINGS = "list of string"
    INT32S = "list of int32"
    FLOAT32S = "list of float32"
    SPANS = "list of {version: int64, tokens: int32}"
    REWARDS = "list of {scorer: string, version: int32, value: float64, error: string}"
    WHY = "{rule: string, terms: list of {name: string, value: float64}}"
    SCORES = "list of {scorer: string, value: float64}"  # a mapping in Python


class Origin(StrEnum):
    """Whom a value comes from."""

    NODE = "node"  # of a sample: its leaf
    TREE = "tree"
    TASK = "task"
    CREDIT = "credit"  # follows the rewards in force, so that writing rewards back may change it
    PATH = "path"  # worked out of the nodes of a path, or of their order
    LOG = "log"  # of a decision: what the service wrote when it was taken


_MESSAGES = {Origin.NODE: "Node", Origin.TREE: "Tree", Origin.TASK: "Tree", Origin.CREDIT: "LeafCredit"}


@dataclass(frozen=True, slots=True)
class Column:
    """One row of the table. `proto` is "<message>.<field>", or "" for what no message holds."""

    name: str
    dtype: DType
    origin: Origin
    sentence: str
    proto: str
    unit: str
    shape: str
    """What an array has one value each for: "C", the tokens of a completion; "P", of a prompt; "N", of a node."""
    nullable: bool

    @property
    def message(self) -> str:
        """Name of the message that holds it; "" for none."""
        return self.proto.partition(".")[0]

    @property
    def proto_field(self) -> str:
        """Name of its field there."""
        return self.proto.partition(".")[2]


def _row(dtype: DType, sentence: str, origin: Origin, unit: str, shape: str, proto: str | None) -> Any:
    metadata = {"dtype": dtype, "sentence": sentence, "origin": origin, "unit": unit, "shape": shape, "proto": proto}
    return field(metadata=metadata)


def of_node(dtype: DType, sentence: str, *, unit: str = "", shape: str = "", proto: str | None = None) -> Any:
    """A field of a node's message. `proto`: "<message>.<field>", if that is not the one of the same name."""
    return _row(dtype, sentence, Origin.NODE, unit, shape, proto)


def of_tree(dtype: DType, sentence: str, *, unit: str = "", shape: str = "", proto: str | None = None) -> Any:
    """A field that a tree's nodes and samples have in common."""
    return _row(dtype, sentence, Origin.TREE, unit, shape, proto)


def of_task(dtype: DType, sentence: str, *, unit: str = "", shape: str = "", proto: str | None = None) -> Any:
    """A field that came with the task."""
    return _row(dtype, sentence, Origin.TASK, unit, shape, proto)


def of_credit(dtype: DType, sentence: str, *, unit: str = "", shape: str = "", proto: str | None = None) -> Any:
    """A field that follows the rewards in force."""
    return _row(dtype, sentence, Origin.CREDIT, unit, shape, proto)


def of_path(dtype: DType, sentence: str, *, unit: str = "", shape: str = "", proto: str | None = None) -> Any:
    """A field that is worked out; with a `proto`, from that."""
    return _row(dtype, sentence, Origin.PATH, unit, shape, proto)


def of_log(dtype: DType, sentence: str, *, unit: str = "") -> Any:
    """A field of a decision."""
    return _row(dtype, sentence, Origin.LOG, unit, "", None)


T = TypeVar("T")


@dataclass_transform(field_specifiers=(of_node, of_tree, of_task, of_credit, of_path, of_log))
def record(*, slots: bool = True) -> Callable[[type[T]], type[T]]:
    """A dataclass whose fields are rows of the table."""

    def decorate(cls: type[T]) -> type[T]:
        return dataclass(slots=slots)(cls)

    return decorate


def columns_of(kind: Any) -> tuple[Column, ...]:
    """The columns of a `record`, in order. What may be None is nullable."""
    return tuple(_column(row.name, row.type, **row.metadata) for row in fields(kind))


def _column(name: str, annotation: Any, *, proto: str | None, origin: Origin, **rest: Any) -> Column:
    if proto is None:
        proto = f"{_MESSAGES[origin]}.{name}" if origin in _MESSAGES else ""
    return Column(name=name, proto=proto, origin=origin, nullable=NoneType in get_args(annotation), **rest)


class Source(Protocol):
    """Where a record's columns are read from, when they are asked for."""

    def read(self, name: str, index: int) -> Any:
        """The column of the record with this index."""
        ...


class _FirstUse:
    """A column that is read once, when somebody asks for it. An instance's own value goes first."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __get__(self, record: Any, kind: Any = None) -> Any:
        if record is None:
            return self
        source: Source | None = record.__dict__.get("_source")
        if source is None:
            raise AttributeError(f"{type(record).__name__!r} object has no attribute {self._name!r}")
        value = source.read(self._name, record.index)
        record.__dict__[self._name] = value
        return value


def made_on_first_use(*, but: frozenset[str]) -> Callable[[type[T]], type[T]]:
    """A decorator above `@record`: columns, `but` for those, are read from an instance's `_source` when asked for."""

    def decorate(kind: type[T]) -> type[T]:
        for column in columns_of(kind):
            if column.name not in but:
                setattr(kind, column.name, _FirstUse(column.name))
        return kind

    return decorate
