"""Columns that no Arrow type holds: as JSON text, and back where they can be."""

from __future__ import annotations

import json
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tulu_data.sources.batch import AS_JSON
from tulu_data.sources.json_text import fitted, is_json_text, restored, unified

TEXT = pa.field("x", pa.string(), metadata=AS_JSON)


def marked(*values: Any) -> pa.Table:
    texts = [None if value is None else json.dumps(value) for value in values]
    return pa.table([pa.array(texts, pa.string())], schema=pa.schema([TEXT]))


def test_values_come_back_where_one_type_holds_them() -> None:
    table = restored(marked(["a"], None, []))
    assert table["x"].to_pylist() == [["a"], None, []]
    assert not is_json_text(table.schema.field("x"))


def test_values_of_several_kinds_stay_text() -> None:
    mixed = marked(["a"], [1])
    assert restored(mixed).equals(mixed, check_metadata=True)


@pytest.mark.parametrize(
    ("one", "other", "joined"),
    [
        (pa.array([1]), pa.array([1.5]), [1.0, 1.5]),
        (pa.array([[1]]), pa.array(["a"]), ["[1]", '"a"']),
        (pa.array([{"a": 1}]), pa.array([{"b": "é"}]), [{"a": 1, "b": None}, {"a": None, "b": "é"}]),
        (pa.array([{"a": 1}]), pa.array([{"a": "é"}]), ['{"a": 1}', '{"a": "é"}']),
        (pa.nulls(1), pa.array([[1]]), [None, [1]]),
    ],
)
def test_tables_are_joined_by_a_common_type_or_as_text(one: pa.Array, other: pa.Array, joined: Any) -> None:
    tables = [pa.table({"x": one}), pa.table({"x": other, "y": [1]})]
    schema = unified([table.schema for table in tables])
    whole = pa.concat_tables([fitted(table, schema) for table in tables])
    assert whole["x"].to_pylist() == joined
    assert whole["y"].to_pylist() == [None, 1]
    assert is_json_text(whole.schema.field("x")) == isinstance(joined[0], str)


values = st.none() | st.text(max_size=3) | st.lists(st.integers(-9, 9) | st.text(max_size=2), max_size=2)


@given(st.lists(st.lists(values, min_size=1, max_size=3), min_size=1, max_size=3))
def test_joined_text_says_what_the_parts_said(parts: list[list[Any]]) -> None:
    tables = [restored(marked(*part)) for part in parts]
    schema = unified([table.schema for table in tables])
    found = pa.concat_tables([fitted(table, schema) for table in tables])["x"].to_pylist()
    if is_json_text(schema.field("x")):
        found = [None if text is None else json.loads(text) for text in found]
    assert found == [value for part in parts for value in part]
