"""Native rows that belong together, as one row: all answers to a prompt, all messages of a tree."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tulu_data.errors import SourceError
from tulu_data.sources.batch import BadRow, Batch, OnBad, stop
from tulu_data.sources.json_text import fitted, unified
from tulu_data.sources.tables import Reading


def gathered(
    batches: Iterable[Batch], key: str, columns: Sequence[str] = (), *, on_bad: OnBad = stop, batch_bytes: int
) -> Iterator[Batch]:
    """Batches of groups: the native rows of a whole source that are equal in `key`.

    Every column becomes a list of the group's values in reading order, and groups stand in the order of their
    first rows, whose row number and line are the group's own. The columns are held in memory until all rows
    were read, as a later row may belong to the first group.

    Args:
        batches: native rows.
        key: a column, or a dotted path to a field of structs; a row in which it is null goes to `on_bad`.
        columns: those that are kept; all unless given.
        on_bad: what becomes of a row without a key.
        batch_bytes: about how much Arrow memory a batch of groups takes.

    Raises:
        SourceError: there is no such column.
        RowError: a row has no key, and `on_bad` is `stop`.
    """
    tables, numbers, lines, file = [], [], [], ""
    for batch in batches:
        file = file or batch.file
        _check(batch, key)
        known = np.flatnonzero(pc.is_valid(_values(batch.table, key)).to_numpy(zero_copy_only=False))
        for index in sorted({*range(batch.table.num_rows)} - {*known.tolist()}):
            on_bad(BadRow(batch.where(index, key), f"{key} is null", "the value that gathers rows"))
        taken = [name for name in batch.table.column_names if not columns or name in columns]
        tables.append(batch.table.select(taken).take(pa.array(known)))
        numbers.append(batch.rows.to_numpy()[known])
        lines += [] if batch.lines is None else [batch.lines.to_numpy()[known]]
    if not tables:
        return
    schema = unified([table.schema for table in tables])
    table = pa.concat_tables([fitted(table, schema) for table in tables]).combine_chunks()
    codes = _values(table, key).dictionary_encode().indices.to_numpy()  # numbered by first occurrence
    order = np.argsort(codes, kind="stable")
    sizes = np.bincount(codes)
    ends = np.cumsum(sizes)
    groups = _lists(table.take(pa.array(order)), np.concatenate([[0], ends]))
    first = order[ends - sizes]
    first_lines = np.concatenate(lines)[first] if len(lines) == len(tables) else None
    yield from Reading(on_bad, batch_bytes).batches(groups, np.concatenate(numbers)[first], file, first_lines)


def _check(batch: Batch, key: str) -> None:
    name = key.partition(".")[0]
    if name not in batch.table.column_names:
        there = ", ".join(batch.table.column_names)
        raise SourceError(
            f"no column named {name}", where=batch.file, expected=f"rows to gather by it; there are: {there}"
        )


def _values(table: pa.Table, path: str) -> pa.Array:
    """The values at a dotted path."""
    name, *fields = path.split(".")
    column = table[name].combine_chunks()
    for field in fields:
        column = pc.struct_field(column, field)
    return column


def _lists(table: pa.Table, offsets: np.ndarray[tuple[int], np.dtype[np.int64]]) -> pa.Table:
    starts = pa.array(offsets, pa.int32())
    fields, arrays = [], []
    for field in table.schema:
        values = table[field.name].combine_chunks()
        arrays.append(pa.ListArray.from_arrays(starts, values))
        fields.append(pa.field(field.name, arrays[-1].type, metadata=field.metadata))
    return pa.table(arrays, schema=pa.schema(fields))
