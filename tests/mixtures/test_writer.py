"""The writer rule: the same rows give the same bytes, and the logical hash sees every value."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.mixtures.places import preference_rows
from tests.rows import rows_of
from tulu_data.mixtures import writer
from tulu_data.mixtures.writer import GroupWriter, LogicalHash, shard_sizes, shards, text_bytes
from tulu_data.record import CONTENT, MESSAGES, OUTPUT


def cut(table: pa.Table, sizes: list[int]) -> list[pa.Table]:
    pieces, start = [], 0
    for size in [*sizes, table.num_rows]:
        pieces.append(table.slice(start, size))
        start += size
    return pieces


def write(path: Path, pieces: list[pa.Table]) -> bytes:
    with GroupWriter(path, pieces[0].schema) as file:
        for piece in pieces:
            file.write(piece)
    return path.read_bytes()


def table(count: int) -> pa.Table:
    rows = [
        {
            "id": f"id{n}",
            "messages": [{"role": "user", "content": f"question {n} " * (n % 50)}] * (n % 4),
            "tools": None if n % 3 else "[]",
            "source": f"s{n % 2}",
        }
        for n in range(count)
    ]
    return pa.Table.from_pylist(rows, schema=OUTPUT["sft"])


@pytest.mark.parametrize("sizes", [[1], [4096], [4095, 2], [100] * 60, [0, 5000, 0], [9000]])
def test_the_bytes_do_not_depend_on_how_the_rows_arrive(tmp_path: Path, sizes: list[int]) -> None:
    rows = table(10_000)
    whole = write(tmp_path / "whole", [rows])
    assert write(tmp_path / "cut", cut(rows, sizes)) == whole
    copied = [pa.Table.from_pylist(piece.to_pylist(), schema=rows.schema) for piece in cut(rows, sizes)]
    assert write(tmp_path / "copied", copied) == whole
    assert pq.read_table(tmp_path / "cut") == rows


def test_groups_have_a_fixed_number_of_rows_and_the_file_names_no_library_of_ours(tmp_path: Path) -> None:
    write(tmp_path / "a", [table(9000).replace_schema_metadata({"pandas": "{}"})])
    file = pq.ParquetFile(tmp_path / "a")
    assert [file.metadata.row_group(i).num_rows for i in range(file.num_row_groups)] == [4096, 4096, 808]
    assert set(file.metadata.metadata or {}) <= {b"ARROW:schema"}
    assert not file.schema_arrow.metadata


def test_a_group_of_long_rows_has_fewer_of_them_however_they_arrive(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer, "GROUP_BYTES", 100)
    lengths = [40, 40, 30, 500, 1, 1, 99, 100, 101, 3]
    rows = pa.table({"id": ["x" * n for n in lengths]})
    whole = write(tmp_path / "whole", [rows])
    file = pq.ParquetFile(tmp_path / "whole")
    assert [file.metadata.row_group(i).num_rows for i in range(file.num_row_groups)] == [
        2,
        1,
        1,
        2,
        1,
        1,
        1,
        1,
    ]
    for sizes in ([1] * 10, [3, 1], [4, 4], [7, 1, 1]):
        assert write(tmp_path / "cut", cut(rows, sizes)) == whole


def test_an_empty_file_has_its_columns(tmp_path: Path) -> None:
    write(tmp_path / "a", [table(0)])
    assert pq.read_table(tmp_path / "a").schema == OUTPUT["sft"]


def test_shards_are_even_and_named_by_number(tmp_path: Path) -> None:
    found = shards(tmp_path, "train", 23, 3 * writer.SHARD_BYTES - 1)
    assert [shard.path.name for shard in found] == [f"train-0000{i}-of-00003.parquet" for i in range(3)]
    assert [(shard.start, shard.stop) for shard in found] == [(0, 7), (7, 15), (15, 23)]


@given(st.integers(0, 1000), st.integers(0, 10**11))
def test_shard_sizes_add_up_and_none_is_empty(rows: int, size: int) -> None:
    sizes = shard_sizes(rows, size)
    assert sum(sizes) == rows
    assert min(sizes) > 0 or sizes == [0]
    assert max(sizes) - min(sizes) <= 1


def logical(rows: pa.Table, kind: Any = "sft") -> str:
    found = LogicalHash(kind, rows.schema)
    found.update(rows)
    return found.hexdigest()


@given(rows_of("sft", nulls=False), st.lists(st.integers(0, 3), max_size=3))
def test_the_logical_hash_does_not_depend_on_batches(rows: pa.Table, sizes: list[int]) -> None:
    rows = rows.select(OUTPUT["sft"].names)
    found = LogicalHash("sft", rows.schema)
    for piece in cut(rows, sizes):
        found.update(piece)
    assert found.hexdigest() == logical(rows)


def test_the_logical_hash_sees_every_column_the_order_the_kind_and_the_columns() -> None:
    rows = pa.Table.from_pylist(
        [{"id": str(n), "source": "s", **row} for n, row in enumerate(preference_rows(3, rated=True))],
        schema=OUTPUT["preference"],
    )
    seen = {logical(rows, "preference"), logical(rows.take([1, 0, 2]), "preference"), logical(rows, "sft")}
    for index, field in enumerate(rows.schema):
        other = rows.to_pylist()
        if field.type == MESSAGES:
            other[1][field.name][0]["role"] = "system"
        else:
            other[1][field.name] = 0.3 if field.type == pa.float64() else "else"
        seen.add(logical(pa.Table.from_pylist(other, schema=rows.schema), "preference"))
        seen.add(logical(rows.remove_column(index), "preference"))
    assert len(seen) == 3 + 2 * len(rows.schema)


def test_the_logical_hash_of_known_rows_is_known() -> None:
    """Versions are named by it: it may only change together with `LOGICAL_HASH`."""
    assert logical(table(3)) == "86076ea8aeb1d8c56d21ef3418ae440c39ee449358d96120b3dc8e1f6afb03bf"


@given(rows_of("sft"))
def test_text_bytes_are_those_of_the_texts(rows: pa.Table) -> None:
    names = CONTENT["sft"].names
    expected = []
    for row in rows.select(names).to_pylist():
        texts = [m["content"] for m in row["messages"] or [] if m] + [row["tools"]]
        expected.append(sum(len(text.encode()) for text in texts if text))
    assert text_bytes(rows, names).tolist() == expected
    assert text_bytes(rows.slice(1), names).tolist() == expected[1:]
