"""What JSON calls the values of Arrow types and of Python, and what no Arrow type can hold."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pyarrow as pa

from tulu_data.sources.tables import is_list

NAMED = {
    "string": "a string",
    "number": "a number",
    "bool": "true or false",
    "list": "a list",
    "object": "an object",
}
"""The kinds of values, as messages name them."""

_KINDS: dict[type, str] = {
    str: "string",
    int: "number",
    float: "number",
    bool: "bool",
    list: "list",
    dict: "object",
}


def kind_of(value: Any) -> str:
    """The kind of a Python value that is not None."""
    return _KINDS[type(value)]


def kind_of_type(kind: pa.DataType) -> str | None:
    """The kind of an Arrow type's values; None if there is nothing but nulls.

    >>> kind_of_type(pa.list_(pa.string())), kind_of_type(pa.null())
    ('list', None)
    """
    if pa.types.is_null(kind):
        return None
    if pa.types.is_boolean(kind):
        return "bool"
    if pa.types.is_integer(kind) or pa.types.is_floating(kind):
        return "number"
    if is_list(kind):
        return "list"
    return "object" if pa.types.is_struct(kind) else "string"


def join(one: pa.DataType, other: pa.DataType) -> pa.DataType | None:
    """What both types know of the values, or None if one place holds two kinds of them.

    >>> join(pa.struct([("a", pa.null())]), pa.struct([("a", pa.string()), ("b", pa.int64())]))
    StructType(struct<a: string, b: int64>)
    >>> join(pa.list_(pa.string()), pa.list_(pa.int64())) is None
    True
    """
    kinds = kind_of_type(one), kind_of_type(other)
    if None in kinds:
        return other if kinds[0] is None else one
    if kinds[0] != kinds[1]:
        return None
    if kinds[0] == "list":
        inner = join(one.value_type, other.value_type)
        return None if inner is None else pa.list_(inner)
    return _join_fields(one, other) if kinds[0] == "object" else one


def _join_fields(one: pa.DataType, other: pa.DataType) -> pa.DataType | None:
    fields = {field.name: field.type for field in one}
    for field in other:
        inner = join(fields.get(field.name, pa.null()), field.type)
        if inner is None:
            return None
        fields[field.name] = inner
    return pa.struct(list(fields.items()))


def undated(kind: pa.DataType) -> pa.DataType:
    """`kind` with text where Arrow's JSON reader found timestamps."""
    if pa.types.is_timestamp(kind):
        return pa.string()
    if pa.types.is_struct(kind):
        return pa.struct([pa.field(f.name, undated(f.type)) for f in kind])
    if pa.types.is_list(kind):
        return pa.list_(pa.field("item", undated(kind.value_type)))
    return kind


def mixed_inside(objects: list[dict[str, Any]]) -> set[str]:
    """The keys whose values hold several kinds of values in one place further in.

    >>> mixed_inside([{"a": ["x", 1], "b": [1, 2.5, None], "c": 1}, {"c": "x"}])
    {'a'}
    """
    seen: dict[tuple[str, ...], str] = {}
    mixed: set[str] = set()
    left: list[tuple[tuple[str, ...], Any]] = [
        ((name,), value) for row in objects for name, value in row.items()
    ]
    while left:
        path, value = left.pop()
        if value is None:
            continue
        kind = kind_of(value)
        if len(path) > 1 and seen.setdefault(path, kind) != kind:
            mixed.add(path[0])
        left += [((*path, kind, key), inner) for key, inner in _inside(value)]
    return mixed


def _inside(value: Any) -> Iterable[tuple[str, Any]]:
    if isinstance(value, dict):
        return value.items()
    return (("", inner) for inner in value) if isinstance(value, list) else ()


DEEPEST = 64
"""Levels of lists and objects in a row; Arrow's JSON reader overflows the stack some thousands down."""

_CLOSED = (b"]" * DEEPEST, b"}" * DEEPEST, b"}]" * (DEEPEST // 2))


def may_be_deep(data: bytes) -> bool:
    """Whether JSON text may hold a value deeper than `DEEPEST`: such a value closes level after level."""
    return any(closed in data for closed in _CLOSED)


def is_deep(value: Any) -> bool:
    """Whether a value goes down more than `DEEPEST` levels."""
    level = [value]
    for _ in range(DEEPEST + 1):
        level = [inner for outer in level for _, inner in _inside(outer)]
    return bool(level)
