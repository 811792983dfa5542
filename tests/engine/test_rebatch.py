"""Batches are bounded in bytes, and hold the same rows."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from tests.rows import conversation, table_of
from tulu_data.engine import rebatch

lengths = st.lists(st.lists(st.integers(0, 3000), max_size=8), max_size=8)


def made(lengths_: list[int]) -> pa.Table:
    return pa.table({"text": pa.array(["x" * n for n in lengths_], pa.string())})


@given(lengths, st.sampled_from([1, 100, 1000, 10_000]))
def test_the_rows_are_the_same_and_the_tables_bounded(sizes: list[list[int]], limit: int) -> None:
    tables = [made(s) for s in sizes]
    out = list(rebatch(iter(tables), limit))
    assert [n for t in out for n in t["text"].to_pylist()] == [
        n for t in tables for n in t["text"].to_pylist()
    ]
    for table in out:
        assert table.num_rows == 1 or table.nbytes <= limit
        assert table["text"].num_chunks == 1
    for one, two in pairwise(out):
        assert one.nbytes + two.nbytes > limit // 2, "two tables that would fit into one"


def test_a_row_above_the_limit_is_a_table_of_its_own() -> None:
    assert [t.num_rows for t in rebatch([made([1, 50_000, 1, 1])], 1000)] == [1, 1, 2]


def test_tables_of_several_chunks_become_one_chunk() -> None:
    chunked = pa.concat_tables([made([1, 2]), made([3])])
    (table,) = rebatch([chunked])
    assert table["text"].num_chunks == 1
    assert table.equals(chunked)


def test_nothing_gives_nothing() -> None:
    assert list(rebatch([])) == []
    assert list(rebatch([made([]), made([])])) == []


def test_it_is_lazy() -> None:
    def endless() -> Iterator[pa.Table]:
        while True:
            yield made([600])

    stream = rebatch(endless(), 1000)
    assert [next(stream).num_rows for _ in range(3)] == [1, 1, 1]


def test_conversations_are_cut_between_rows() -> None:
    table = table_of(
        "sft", [{"messages": conversation(f"user: {n}" + "x" * 500, "assistant: y")} for n in range(40)]
    )
    out = list(rebatch([table], 3000))
    assert len(out) > 5
    assert pa.concat_tables(out).equals(table)
