"""Lists of turns as Arrow arrays: built, joined and cut without Python objects."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tulu_data.record import MESSAGE, MESSAGES


def one_chunk(column: pa.ChunkedArray) -> pa.Array:
    """The column as one array; no copy where it is one already."""
    return (
        column.chunk(0)
        if column.num_chunks == 1
        else pa.concat_arrays(column.chunks or [pa.array([], column.type)])
    )


def is_text(kind: pa.DataType) -> bool:
    """Whether values of this type are text (a column of nulls may be)."""
    if pa.types.is_dictionary(kind):
        return is_text(kind.value_type)
    checks: list[Callable[[pa.DataType], bool]] = [
        pa.types.is_string,
        pa.types.is_large_string,
        pa.types.is_string_view,
        pa.types.is_null,
    ]
    return any(check(kind) for check in checks)


def is_list(kind: pa.DataType) -> bool:
    """Whether values of this type are lists, of any of Arrow's layouts."""
    checks: list[Callable[[pa.DataType], bool]] = [
        pa.types.is_list,
        pa.types.is_large_list,
        pa.types.is_fixed_size_list,
        pa.types.is_list_view,
        pa.types.is_large_list_view,
    ]
    return any(check(kind) for check in checks)


def is_scalar(kind: pa.DataType) -> bool:
    """Whether values of this type are text, numbers, booleans or times."""
    if pa.types.is_dictionary(kind):
        return is_scalar(kind.value_type)
    return is_text(kind) or is_number(kind) or bool(pa.types.is_boolean(kind) or pa.types.is_temporal(kind))


def is_number(kind: pa.DataType) -> bool:
    """Whether values of this type are numbers."""
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind))


def keys(kind: pa.DataType) -> set[str]:
    """The keys of a struct type; none for any other type."""
    return {f.name for f in kind} if pa.types.is_struct(kind) else set()


def items(kind: pa.DataType) -> pa.DataType:
    """The type of a list's items; null for any other type."""
    return kind.value_type if is_list(kind) else pa.null()


def dig(values: pa.Array, *path: str) -> pa.Array:
    """What lies at a path of structs; nulls where a key is missing.

    >>> dig(pa.array([{"a": {"b": 1}}, {"a": None}, None]), "a", "b").to_pylist()
    [1, None, None]
    """
    for key in path:
        if key not in keys(values.type):
            return pa.nulls(len(values))
        values = pc.struct_field(values, key)
    return values


def texts(values: pa.Array) -> pa.Array:
    """Text of any of Arrow's layouts as plain `string`."""
    return values if values.type == pa.string() else values.cast(pa.string())


def pieces(lists: pa.Array) -> tuple[np.ndarray[Any, Any], pa.Array]:
    """The offsets and items of lists of any layout, without what lies under nulls or outside a slice."""
    lengths = pc.fill_null(pc.list_value_length(lists), 0).to_numpy(zero_copy_only=False)
    return np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)]), lists.flatten()


def owners(offsets: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Of every item, the row that it belongs to."""
    return np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))


def conversation(offsets: np.ndarray[Any, Any], roles: pa.Array, contents: pa.Array) -> pa.Array:
    """Messages from their flat roles and contents."""
    turns = pa.StructArray.from_arrays([roles, contents], fields=list(MESSAGE))
    return pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), turns, type=MESSAGES)


def turn(role: str, contents: pa.Array) -> pa.Array:
    """Conversations of one turn; of none where the content is null."""
    present = pc.is_valid(contents).to_numpy(zero_copy_only=False)
    offsets = np.concatenate([[0], np.cumsum(present, dtype=np.int64)])
    kept = contents.drop_null()
    return conversation(offsets, pa.repeat(pa.scalar(role), len(kept)), texts(kept))


def join(*parts: pa.Array) -> pa.Array:
    """Row by row, the turns of every part one behind the other.

    >>> join(turn("user", pa.array(["Hi", "Yo"])), turn("assistant", pa.array([None, "Hey"]))).to_pylist()[0]
    [{'role': 'user', 'content': 'Hi'}]
    """
    cut = [pieces(part) for part in parts]
    rows = np.concatenate([owners(offsets) for offsets, _ in cut])
    order = np.argsort(rows, kind="stable")
    turns = pa.concat_arrays([values for _, values in cut]).take(pa.array(order))
    offsets = np.sum([offsets for offsets, _ in cut], axis=0)
    return conversation(offsets, turns.field("role"), turns.field("content"))


def only(lists: pa.Array, rows: np.ndarray[Any, Any]) -> pa.Array:
    """The conversations where `rows` is true; empty ones elsewhere."""
    offsets, turns = pieces(lists)
    kept = turns.filter(pa.array(rows[owners(offsets)]))
    lengths = np.where(rows, np.diff(offsets), 0)
    return conversation(np.concatenate([[0], np.cumsum(lengths)]), kept.field("role"), kept.field("content"))


def last_user(lists: pa.Array, limit: np.ndarray[Any, Any] | None = None) -> np.ndarray[Any, Any]:
    """The place of each conversation's last user turn, among its first `limit` turns; -1 for none."""
    offsets, turns = pieces(lists)
    rows = owners(offsets)
    places = np.arange(len(rows)) - offsets[rows]
    ours = pc.fill_null(pc.equal(turns.field("role"), "user"), fill_value=False).to_numpy(
        zero_copy_only=False
    )
    if limit is not None:
        ours &= places < limit[rows]
    last = np.full(len(offsets) - 1, -1)
    last[rows[ours]] = places[ours]  # in order, so the last one stays
    return last


def first_turns(lists: pa.Array, counts: np.ndarray[Any, Any]) -> pa.Array:
    """The first `counts` turns of each conversation."""
    offsets, turns = pieces(lists)
    rows = owners(offsets)
    kept = turns.filter(pa.array(np.arange(len(rows)) - offsets[rows] < counts[rows]))
    return conversation(np.concatenate([[0], np.cumsum(counts)]), kept.field("role"), kept.field("content"))


def shared_turns(left: pa.Array, right: pa.Array) -> np.ndarray[Any, Any]:
    """How many leading turns each pair of conversations has in common."""
    (left_offsets, left_turns), (right_offsets, right_turns) = pieces(left), pieces(right)
    shorter = np.minimum(np.diff(left_offsets), np.diff(right_offsets))
    offsets = np.concatenate([[0], np.cumsum(shorter)])
    rows = owners(offsets)
    places = np.arange(len(rows)) - offsets[rows]
    ours = left_turns.take(pa.array(left_offsets[rows] + places))
    theirs = right_turns.take(pa.array(right_offsets[rows] + places))
    same = pc.and_(
        pc.equal(ours.field("role"), theirs.field("role")),
        pc.equal(ours.field("content"), theirs.field("content")),
    )
    differs = ~pc.fill_null(same, fill_value=False).to_numpy(zero_copy_only=False)
    shared = shorter.copy()
    np.minimum.at(shared, rows[differs], places[differs])
    return shared


def pick(lists: pa.Array, places: np.ndarray[Any, Any]) -> pa.Array:
    """The content of one turn of each conversation; null where the place is -1."""
    offsets, turns = pieces(lists)
    return turns.field("content").take(pa.array(offsets[:-1] + places, mask=places < 0))


def first_text(lists: pa.Array) -> tuple[pa.Array, pa.Array]:
    """The first text of each list (null if it is empty), and how many more there are (null for none)."""
    offsets, values = pieces(lists)
    lengths = np.diff(offsets)
    first = texts(values).take(pa.array(offsets[:-1], mask=lengths == 0))
    return first, pa.array(lengths - 1, mask=lengths < 2)
