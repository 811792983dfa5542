"""Sorting through buckets gives what sorting in memory gives."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tulu_data.engine import SortedRows, sort

keys = st.one_of(st.integers(0, 2**64 - 1), st.sampled_from([0, 1, 2**63 - 1, 2**63, 2**64 - 1]))


@settings(max_examples=40, deadline=None)
@given(st.lists(st.lists(keys, max_size=6), max_size=6), st.sampled_from([0, 1, 250, 800]))
def test_any_batches_and_any_number_of_buckets_give_one_order(
    tmp_path_factory: pytest.TempPathFactory, batches: list[list[int]], nbytes: int
) -> None:
    rows = [
        [(key, f"{place}/{number}") for number, key in enumerate(batch)]
        for place, batch in enumerate(batches)
    ]
    tables = [
        pa.table(
            {"key": pa.array([k for k, _ in b], pa.uint64()), "id": pa.array([i for _, i in b], pa.string())}
        )
        for b in rows
    ]
    scratch = tmp_path_factory.mktemp("sort")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sort, "BUCKET_BYTES", 100)
        with SortedRows(tables, "key", nbytes, scratch) as found:
            out = [(row["key"], row["id"]) for table in found.rows() for row in table.to_pylist()]
            start, stop = len(out) // 3, 2 * len(out) // 3
            part = [(row["key"], row["id"]) for t in found.rows(start, stop) for row in t.to_pylist()]
            assert found.num_rows == len(out)
    assert out == sorted(row for batch in rows for row in batch)
    assert part == out[start:stop]
    assert list(scratch.iterdir()) == []


@pytest.mark.parametrize(("nbytes", "buckets"), [(0, 1), (100, 1), (101, 2), (200, 2), (201, 4), (1600, 16)])
def test_a_bucket_holds_what_fits_in_memory(
    nbytes: int, buckets: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sort, "BUCKET_BYTES", 100)
    every = pa.array([n << 60 for n in range(16)], pa.uint64())
    table = pa.table({"key": every, "id": [str(n) for n in range(16)]})
    with SortedRows([table], "key", nbytes, tmp_path) as found:
        out = list(found.rows())
    assert len(out) == buckets


def test_a_stream_that_breaks_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sort, "BUCKET_BYTES", 100)

    def broken() -> Iterator[pa.Table]:
        yield pa.table({"key": pa.array([0, 2**63], pa.uint64()), "id": ["a", "b"]})
        raise ValueError("the source ended")

    with pytest.raises(ValueError, match="the source ended"):
        SortedRows(broken(), "key", 200, tmp_path)
    assert list(tmp_path.iterdir()) == []
