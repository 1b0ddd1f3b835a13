"""A Parquet file of a few bytes that stands for more memory than there may be is refused, and costs no more."""

import resource
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from treeroll.errors import InvalidInput
from treeroll.rows import parquet
from treeroll.rows.parquet import BATCH_ROWS, parquet_rows

MIB = 1 << 20
ROOM = 16 * MIB


def texts(of: int) -> pa.DictionaryArray:
    """One text, again and again: in the file, and here, it stands once."""
    text = pa.array(["x" * (of // BATCH_ROWS)])
    return pa.DictionaryArray.from_arrays(pa.array([0] * BATCH_ROWS, pa.int32()), text)


def of_texts(of: int) -> pa.Table:
    return pa.table({"prompt": texts(of)})


def of_lists(of: int) -> pa.Table:
    return pa.table({"prompt": pa.ListArray.from_arrays(pa.array(range(BATCH_ROWS + 1), pa.int32()), texts(of))})


@pytest.fixture(autouse=True)
def little_room(monkeypatch: pytest.MonkeyPatch) -> None:
    assert parquet.MOST_BYTES == 1024 * MIB
    monkeypatch.setattr(parquet, "MOST_BYTES", ROOM)


@pytest.mark.parametrize("made", [of_texts, of_lists])
def test_rows_that_are_larger_than_the_room_for_them_are_refused(made: Any, tmp_path: Path) -> None:
    file = tmp_path / "bomb.parquet"
    pq.write_table(made(16 * ROOM), file, compression="zstd")
    assert file.stat().st_size < MIB
    limits = resource.getrlimit(resource.RLIMIT_DATA)
    with pytest.raises(InvalidInput, match=f"{file} holds rows of which 1024 take more than 16 MiB, or than there is"):
        list(parquet_rows(file))
    assert resource.getrlimit(resource.RLIMIT_DATA) == limits


@pytest.mark.parametrize("made", [of_texts, of_lists])
def test_rows_that_fit_are_read(made: Any, tmp_path: Path) -> None:
    file = tmp_path / "rows.parquet"
    pq.write_table(made(ROOM // 64), file, compression="zstd")
    assert len(list(parquet_rows(file))) == BATCH_ROWS
