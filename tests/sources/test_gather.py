"""Native rows that belong together reach an adapter as one row."""

from __future__ import annotations

import random
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tulu_data.errors import RowError, SourceError
from tulu_data.sources.batch import Batch, SetAside
from tulu_data.sources.gather import gathered

Row = dict[str, Any]


def batches(rows: list[Row], size: int = 3, first: int = 0) -> list[Batch]:
    """Rows cut into batches, with the numbers and lines that a reader gives them."""
    cut = [rows[i : i + size] for i in range(0, len(rows), size)]
    starts = [first + i * size for i in range(len(cut))]
    return [
        Batch(
            pa.Table.from_pylist(part),
            pa.array(range(start, start + len(part)), pa.int64()),
            "rows.jsonl",
            pa.array(range(start + 1, start + len(part) + 1), pa.int64()),
        )
        for start, part in zip(starts, cut, strict=True)
    ]


def groups(
    rows: list[Row], key: str = "prompt", *, size: int = 3, columns: tuple[str, ...] = ()
) -> list[Row]:
    found = gathered(batches(rows, size), key, columns, batch_bytes=1 << 20)
    return [row for batch in found for row in batch.table.to_pylist()]


def test_rows_of_one_key_become_one_row_of_lists_in_reading_order() -> None:
    rows = [
        {"prompt": "b", "response": "1"},
        {"prompt": "a", "response": "2"},
        {"prompt": "b", "response": "3"},
        {"prompt": "b", "response": "4"},
    ]
    assert groups(rows) == [
        {"prompt": ["b", "b", "b"], "response": ["1", "3", "4"]},
        {"prompt": ["a"], "response": ["2"]},
    ]


def test_a_group_has_the_number_and_line_of_its_first_row() -> None:
    rows = [{"prompt": p} for p in "abcab"]
    (batch,) = gathered(batches(rows, 2), "prompt", batch_bytes=1 << 20)
    assert batch.rows.to_pylist() == [0, 1, 2]
    assert str(batch.where(2)) == "rows.jsonl, line 3, row 2"


def test_the_key_may_lie_in_a_struct() -> None:
    rows: list[Row] = [{"question": {"problem": p, "n": i}, "label": i} for i, p in enumerate("xyx")]
    assert [row["label"] for row in groups(rows, "question.problem")] == [[0, 2], [1]]


def test_only_the_columns_that_are_needed_are_held() -> None:
    rows: list[Row] = [{"prompt": "a", "keep": 1, "heavy": "x"}]
    assert groups(rows, columns=("prompt", "keep")) == [{"prompt": ["a"], "keep": [1]}]


def test_batches_may_differ_in_their_columns() -> None:
    rows: list[Row] = [{"prompt": "a", "x": 1}, {"prompt": "a", "y": "new"}]
    assert groups(rows, size=1) == [{"prompt": ["a", "a"], "x": [1, None], "y": [None, "new"]}]


def test_a_row_without_a_key_is_told_with_its_place() -> None:
    rows: list[Row] = [{"prompt": "a"}, {"prompt": None}, {"prompt": "a"}]
    with pytest.raises(RowError, match=r"rows.jsonl, line 2, row 1, field prompt: prompt is null"):
        groups(rows)
    aside = SetAside()
    (batch,) = gathered(batches(rows), "prompt", on_bad=aside, batch_bytes=1 << 20)
    assert batch.table.to_pylist() == [{"prompt": ["a", "a"]}]
    assert [bad.where.row for bad in aside.rows] == [1]


def test_a_column_that_is_not_there_is_named() -> None:
    with pytest.raises(SourceError, match=r"no column named prompt.*there are: question"):
        groups([{"question": "a"}])


def test_nothing_gives_nothing() -> None:
    assert groups([]) == []


@given(st.lists(st.sampled_from("abcdef"), min_size=1, max_size=40), st.integers(1, 9))
def test_groups_do_not_depend_on_batches(keys: list[str], size: int) -> None:
    rows: list[Row] = [{"prompt": key, "n": i} for i, key in enumerate(keys)]
    expected: dict[str, list[int]] = {}
    for row in rows:
        expected.setdefault(row["prompt"], []).append(row["n"])
    found = groups(rows, size=size)
    assert [(row["prompt"][0], row["n"]) for row in found] == list(expected.items())


def test_groups_come_in_batches_of_bounded_size() -> None:
    rows: list[Row] = [
        {"prompt": str(random.Random(i).randint(0, 300)), "text": "x" * 100} for i in range(1000)
    ]
    found = list(gathered(batches(rows, 100), "prompt", batch_bytes=10_000))
    assert len(found) > 5
    assert sum(batch.table.num_rows for batch in found) == len({row["prompt"] for row in rows})
