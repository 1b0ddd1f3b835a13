"""What tables hold and JSON cannot: in mappings of numpy and pandas, and in Parquet."""

import json
import logging
import math
import re
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum, IntEnum
from pathlib import Path
from typing import Any
from uuid import UUID

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from treeroll.client.wire import submit_requests
from treeroll.errors import InvalidInput
from treeroll.plain_json import MOST_DEPTH, loads
from treeroll.rows.values import Told, json_value
from treeroll.tasks import Task, read_tasks, task_from


class Level(IntEnum):
    HIGH = 1


class Word(str, Enum):  # noqa: UP042 - as users' code has it
    YES = "yes"


NOON = datetime(2026, 3, 1, 12, 0)


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (5, "5"),
        (5.0, "5"),
        (-5.0, "-5"),
        (0.0, "0"),
        (-0.0, "0"),
        (0.5, "0.5"),
        (18.9, "18.9"),
        (100.0, "100"),
        (1e22, "1" + 22 * "0"),
        (1e-7, "0.0000001"),
        (2.0**70, "1180591620717411300000"),
        (123456789012345678901234567890, "123456789012345678901234567890"),
        (np.float64(5.0), "5"),
        (np.float32(0.1), "0.1"),
        (np.float16(0.1), "0.1"),
        (np.float32(3.0), "3"),
        (np.int64(7), "7"),
        (np.uint8(7), "7"),
        (np.array(7.0), "7"),
        (Level.HIGH, "1"),
        (pa.scalar(5.0), "5"),
        (Decimal("18.90"), "18.9"),
        (Decimal("5.00"), "5"),
        (Decimal("1E+3"), "1000"),
        (Decimal("0E-9999"), "0"),
        (5e-200, "0." + 199 * "0" + "5"),
        (Decimal("0.12345678901234567890123"), "0.12345678901234567890123"),
    ],
)
def test_a_number_becomes_its_shortest_decimal_as_answer_and_as_id(number: Any, text: str) -> None:
    task = task_from({"prompt": "x", "answer": number, "id": number}, "t")
    assert (task.answer, task.id) == (text, text)


@pytest.mark.parametrize(
    "number", [float("inf"), np.float32("-inf"), Decimal("Infinity"), 10**5000, Decimal("1E+9999")], ids=type
)
def test_a_number_that_no_decimal_is_is_no_answer(number: Any) -> None:
    with pytest.raises(InvalidInput, match="'answer'"):
        task_from({"prompt": "x", "answer": number}, "t")


@pytest.mark.parametrize("boolean", [True, np.bool_(True), np.array(False)])
def test_a_boolean_is_no_answer(boolean: Any) -> None:
    with pytest.raises(InvalidInput, match="'answer' must be text or a number, got a boolean"):
        task_from({"prompt": "x", "answer": boolean}, "t")


@pytest.mark.parametrize(
    "nothing", [None, float("nan"), np.nan, np.float32("nan"), pd.NA, pd.NaT, np.datetime64("NaT")]
)
def test_what_says_that_there_is_no_value_counts_as_null_everywhere(nothing: Any) -> None:
    row = {
        "id": nothing,
        "prompt": "x",
        "messages": nothing,
        "answer": nothing,
        "level": nothing,
        "deep": [{"a": nothing}],
    }
    assert task_from(row, "t") == Task("t", prompt="x", extra={"level": None, "deep": [{"a": None}]})


@pytest.mark.parametrize(
    ("value", "becomes"),
    [
        (np.int64(3), 3),
        (np.float32(0.1), 0.1),
        (np.bool_(True), True),
        (np.str_("a"), "a"),
        (np.array([1, 2]), [1, 2]),
        (np.array([0.1, 0.2], np.float32), [0.1, 0.2]),
        (np.array([[1], [2]]), [[1], [2]]),
        (np.array(["a", None], object), ["a", None]),
        (np.array([{"a": np.int8(1)}], object), [{"a": 1}]),
        (np.datetime64("2026-03-01T12:00:00"), "2026-03-01T12:00:00"),
        (np.array(["2026-03-01", "NaT"], "M8[D]"), ["2026-03-01", None]),
        (np.timedelta64(1500, "ms"), 1.5),
        (pd.Timestamp(NOON), "2026-03-01T12:00:00"),
        (pd.Timedelta(seconds=2), 2.0),
        (pd.Series([1, 2]), [1, 2]),
        (NOON, "2026-03-01T12:00:00"),
        (NOON.replace(tzinfo=UTC), "2026-03-01T12:00:00+00:00"),
        (date(2026, 3, 1), "2026-03-01"),
        (time(12, 30), "12:30:00"),
        (timedelta(minutes=1), 60.0),
        (Decimal("18.90"), 18.9),
        (Decimal("5.00"), 5),
        (Decimal("NaN"), None),
        (b"\x00\xff", "AP8="),
        (UUID(int=1), "00000000-0000-0000-0000-000000000001"),
        (math.inf, "Infinity"),
        (-math.inf, "-Infinity"),
        ((1, (2.5, math.nan)), [1, [2.5, None]]),
        (Decimal("-Infinity"), "-Infinity"),
        (np.longdouble("0.1"), 0.1),
        (np.array([(1, "a")], [("n", "i4"), ("t", "U1")]), [{"n": 1, "t": "a"}]),
        (np.array([(0.1, (2,))], [("f", "f4"), ("inner", [("n", "i8")])])[0], {"f": 0.1, "inner": {"n": 2}}),
        (np.ma.array([1, 2], mask=[False, True]), [1, None]),
        (pd.Series([0.1, math.nan], dtype="float32"), [0.1, None]),
        (pd.array([1, None], dtype="Int64"), [1, None]),
        (pd.Categorical(["a", None]), ["a", None]),
        (pd.Timestamp("2026-03-01 12:00", tz="Europe/Berlin"), "2026-03-01T12:00:00+01:00"),
        (pl.Series([NOON, None]), ["2026-03-01T12:00:00", None]),
        (pl.Series([0.5]), [0.5]),
        (pa.scalar(None), None),
        (pa.scalar(NOON), "2026-03-01T12:00:00"),
        (pa.scalar({"a": [1, None]}), {"a": [1, None]}),
        (pa.array([b"\xff"]), ["/w=="]),
        (Level.HIGH, 1),
        (Word.YES, "yes"),
    ],
    ids=str,
)
def test_a_value_that_json_has_not_becomes_one_that_it_has(value: Any, becomes: Any) -> None:
    task = task_from({"prompt": "x", "field": value, "deep": {"list": [value]}}, "t")
    assert task.extra == {"field": becomes, "deep": {"list": [becomes]}}
    assert type(task.extra["field"]) is type(becomes)
    assert json.loads(json.dumps(task.extra, allow_nan=False)) == task.extra


@pytest.mark.parametrize("value", [object(), {1, 2}, 1j, {"a": {1: 2}}, [{"b": object()}]])
def test_what_cannot_be_json_is_refused_by_the_name_of_its_column(value: Any) -> None:
    with pytest.raises(InvalidInput, match="field 'field"):
        task_from({"prompt": "x", "field": value}, "t")


def test_a_duration_in_months_is_refused_because_months_differ() -> None:
    with pytest.raises(InvalidInput, match="field 'field' holds a duration in months or years"):
        task_from({"prompt": "x", "field": [np.timedelta64(5, "M")]}, "t")


@pytest.mark.parametrize("make", [bytes, bytearray, memoryview, np.bytes_], ids=lambda make: make.__name__)
def test_bytes_where_text_is_meant_are_that_text(make: Any) -> None:
    five, message = make("fünf".encode()), {"role": make(b"user"), "content": make("fünf".encode())}
    assert task_from({"id": five, "prompt": five, "answer": five}, "t") == Task("fünf", prompt="fünf", answer="fünf")
    [sent] = task_from({"messages": np.array([message], object)}, "t").messages or []
    assert sent == {"role": "user", "content": "fünf"}
    for row in ({"prompt": make(b"\xff")}, {"prompt": "x", "answer": make(b"\xff")}):
        with pytest.raises(InvalidInput, match="is bytes that are no UTF-8; text is needed"):
            task_from(row, "t")


EARLY_AND_LATE = [
    pa.array([-62167219200000001, 253402300800000000], pa.timestamp("us")),
    pa.array([-62167219201, 253402300800], pa.timestamp("s", "UTC")),
    pa.array([10**7, -(10**7)], pa.date32()),
    pa.array([10**14, -(10**14)], pa.date64()),
]


@pytest.mark.parametrize("times", EARLY_AND_LATE, ids=lambda times: str(times.type))
def test_times_outside_pythons_years_are_text(tmp_path: Path, times: Any) -> None:
    pq.write_table(pa.table({"prompt": ["x", "y"], "at": times}), path := tmp_path / "t.parquet")
    one, two = (task.extra["at"] for task in read_tasks(path))
    assert re.match(r"-?\d+-\d\d-\d\d", one)
    assert re.match(r"-?\d+-\d\d-\d\d", two)


def test_a_time_beyond_all_calendars_is_refused_by_its_column(tmp_path: Path) -> None:
    at = pa.array([2**31 - 1], pa.date32())
    pq.write_table(pa.table({"prompt": ["x"], "at": at}), path := tmp_path / "t.parquet")
    with pytest.raises(InvalidInput, match=r"column 'at' of type date32\[day\] cannot be read"):
        read_tasks(path)


def test_durations_longer_than_pythons_are_seconds(tmp_path: Path) -> None:
    at = pa.array([2**62, None], pa.duration("s"))
    pq.write_table(pa.table({"prompt": ["x", "y"], "at": at}), path := tmp_path / "t.parquet")
    assert [task.extra["at"] for task in read_tasks(path)] == [float(2**62), None]


def test_two_columns_of_one_name_are_refused(tmp_path: Path) -> None:
    table = pa.Table.from_arrays([pa.array(["x"]), pa.array(["y"])], names=["prompt", "prompt"])
    pq.write_table(table, path := tmp_path / "t.parquet")
    with pytest.raises(InvalidInput, match="more than one column 'prompt'; name each column once"):
        read_tasks(path)


def test_a_value_nested_without_end_is_refused() -> None:
    endless: list[Any] = [0.5]
    endless.append(endless)
    with pytest.raises(InvalidInput, match="nested too deeply"):
        task_from({"prompt": "x", "field": endless}, "t")


@pytest.mark.parametrize(
    ("name", "deepest"),
    [("field", MOST_DEPTH - 2), ("messages", MOST_DEPTH - 2), ("chat_template_kwargs", MOST_DEPTH - 1)],
)
def test_a_row_is_refused_that_is_nested_deeper_than_a_service_takes(name: str, deepest: int) -> None:
    def nested(depth: int) -> dict[str, Any]:
        value: Any = 1
        for _ in range(depth):
            value = [value]
        message = {"role": "user", "content": "x"}
        if name == "messages":
            return {"messages": [{**message, "tools": value}]}
        return {"messages": [message], name: {"k": value}}

    (request,) = submit_requests("r", [nested(deepest)], 0)
    (sent,) = request.tasks
    for text in (sent.extra_json, sent.messages_json, sent.chat_template_kwargs_json):
        loads(text or "{}")  # as the service does
    with pytest.raises(InvalidInput, match=f"'{name}' is nested more than 6"):
        task_from(nested(deepest + 1), "t")


def test_a_change_of_kind_is_told_once_per_column() -> None:
    said: list[str] = []
    told = Told(said.append)
    for value in (math.nan, NOON, NOON, math.nan):
        json_value({"a": value, "b": [1.5, value]}, "info", told)
    assert said == [
        f"field 'info.{name}': {what}"
        for what in ("NaN and other values that mean 'none' count as null", "times become text in ISO 8601")
        for name in ("a", "b")
    ]


FRAME = pd.DataFrame(
    {
        "id": [1, 2],
        "messages": [[{"role": "user", "content": "one"}], [{"role": "user", "content": "two"}]],
        "answer": [5, None],
        "rate": [0.25, None],
        "when": [NOON, None],
        "tags": [["a"], ["b", "c"]],
    }
)
FRAME_TASKS = [
    Task(
        "1",
        messages=[{"role": "user", "content": "one"}],
        answer="5",
        extra={"rate": 0.25, "when": "2026-03-01T12:00:00", "tags": ["a"]},
    ),
    Task("2", messages=[{"role": "user", "content": "two"}], extra={"rate": None, "when": None, "tags": ["b", "c"]}),
]


def test_a_frame_of_pandas_is_read_alike_from_parquet_and_as_records(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    FRAME.to_parquet(path := tmp_path / "tasks.parquet")
    assert read_tasks(path) == FRAME_TASKS
    records = pd.read_parquet(path).to_dict("records")
    assert isinstance(records[0]["messages"], np.ndarray)
    assert [task_from(row, "t") for row in records] == FRAME_TASKS
    caplog.clear()
    with caplog.at_level(logging.WARNING):
        [request] = submit_requests("r", records, 0)
    assert [(task.task_id, task.answer) for task in request.tasks] == [("1", "5"), ("2", "")]
    assert caplog.text.count("field 'when': times become text") == 1


def test_a_frame_of_polars_is_read_alike_from_parquet_and_as_records(tmp_path: Path) -> None:
    frame = pl.from_pandas(FRAME).with_columns(pl.col("rate").fill_null(float("nan")))
    frame.write_parquet(path := tmp_path / "tasks.parquet")
    assert read_tasks(path) == FRAME_TASKS
    assert [task_from(row, "t") for row in frame.to_dicts()] == FRAME_TASKS


NANOS = 1_700_000_000_123_456_789


@pytest.mark.parametrize(
    ("column", "becomes"),
    [
        (pa.array([0.1, None, 3.0], pa.float32()), [0.1, None, 3]),
        (pa.array(np.array([0.1, 0.5, 3], np.float16)), [0.1, 0.5, 3]),
        (pa.array([[0.1], None, []], pa.list_(pa.float32())), [[0.1], None, []]),
        (pa.array([[0.1], None, [0.2, 0.3]], pa.large_list(pa.float32())), [[0.1], None, [0.2, 0.3]]),
        (pa.array([[0.1], None, [0.2]], pa.list_(pa.float32(), 1)), [[0.1], None, [0.2]]),
        (
            pa.array(
                [{"a": 0.1, "b": "x"}, None, {"a": None, "b": "y"}], pa.struct({"a": pa.float32(), "b": pa.string()})
            ),
            [{"a": 0.1, "b": "x"}, None, {"a": None, "b": "y"}],
        ),
        (pa.array([0.1, 0.1, None], pa.float32()).dictionary_encode(), [0.1, 0.1, None]),
        (
            pa.array([NANOS, None, 0], pa.timestamp("ns")),
            ["2023-11-14T22:13:20.123456789", None, "1970-01-01T00:00:00.000000000"],
        ),
        (pa.array([0, None, 1000], pa.timestamp("ns")), ["1970-01-01T00:00:00", None, "1970-01-01T00:00:00.000001"]),
        (
            pa.array([0, None, 1], pa.timestamp("s", "UTC")),
            ["1970-01-01T00:00:00+00:00", None, "1970-01-01T00:00:01+00:00"],
        ),
        (pa.array([0, None, 1], pa.date32()), ["1970-01-01", None, "1970-01-02"]),
        (pa.array([0, None, 1], pa.duration("ns")), [0, None, 1e-9]),
        (pa.array([1, None, 2], pa.time64("ns")), ["00:00:00.000000001", None, "00:00:00.000000002"]),
        (pa.array([Decimal("1.50"), None, Decimal("2.00")], pa.decimal128(5, 2)), [1.5, None, 2]),
        (pa.array([math.nan, None, math.inf]), [None, None, "Infinity"]),
        (pa.array([b"a", None, b"b"]), ["YQ==", None, "Yg=="]),
        (pa.array([[0.1], None, [0.2, None]], pa.list_view(pa.float32())), [[0.1], None, [0.2, None]]),
        (pa.array([[("k", 0.1)], None, []], pa.map_(pa.string(), pa.float32())), [[["k", 0.1]], None, []]),
        (pa.array([[("k", [0.1])], [], []], pa.map_(pa.string(), pa.list_(pa.float16()))), [[["k", [0.1]]], [], []]),
    ],
    ids=lambda value: str(value.type) if isinstance(value, pa.Array) else "",
)
def test_a_column_of_parquet_that_json_has_not_costs_no_row(
    tmp_path: Path, column: pa.Array, becomes: list[Any]
) -> None:
    pq.write_table(pa.table({"prompt": ["x", "y", "z"], "field": column}), path := tmp_path / "tasks.parquet")
    assert [task.extra["field"] for task in read_tasks(path)] == becomes


def test_small_floats_of_parquet_are_answers_as_they_print(tmp_path: Path) -> None:
    table = {"prompt": ["x", "y"], "answer": pa.array([0.1, 5], pa.float32())}
    pq.write_table(pa.table(table), path := tmp_path / "tasks.parquet")
    assert [task.answer for task in read_tasks(path)] == ["0.1", "5"]
