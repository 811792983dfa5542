"""Parquet, a part of a row group at a time, however large the groups are."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tulu_data.errors import SourceError, Where
from tulu_data.sources.batch import Batch
from tulu_data.sources.streams import BLOCK, DataFile, Stream, readable
from tulu_data.sources.tables import Numbers, Reading, plain

_PAGES = 1 << 20
"""Columns are read through a buffer of this size instead of whole; at equal speed it halves the memory."""

_MOST_ROWS = 16384
"""Small rows need no more at once, and dictionary pages may hide how large rows are in memory."""


def read_parquet(file: DataFile, reading: Reading) -> Iterator[Batch]:
    """The rows of a Parquet file."""
    with ExitStack() as stack:
        parquet = _open(file, stack)
        size, total, begin = file.path.stat().st_size, parquet.metadata.num_rows, reading.rows
        parts = parquet.iter_batches(batch_size=_rows_at_once(parquet.metadata, reading.batch_bytes))
        while (part := _next(parts, file, reading)) is not None:
            table = pa.Table.from_batches([part])
            rows = reading.rows + np.arange(table.num_rows)
            reading.rows += table.num_rows
            rows, table = _valid(table, rows, file.shown, reading)
            position = size * (reading.rows - begin) // max(1, total)
            yield from reading.batches(plain(table), rows, file.shown, position=position)


def footer(file: DataFile) -> pq.FileMetaData:
    """What a Parquet file tells of itself: how many rows it has, and which columns.

    Raises:
        SourceError: it is cut short or corrupt.
    """
    with ExitStack() as stack:
        return _open(file, stack).metadata


def _open(file: DataFile, stack: ExitStack) -> pq.ParquetFile:
    if file.compression is None:
        with readable(file), file.path.open("rb"):
            source: Any = str(file.path)
    else:
        # Parquet begins to be read at its end, so it must be whole.
        source = stack.enter_context(tempfile.TemporaryFile())  # noqa: SIM115 - the stack closes it
        with Stream(file) as stream:
            while data := stream.read(BLOCK):
                source.write(data)
        source.seek(0)
    try:
        return stack.enter_context(pq.ParquetFile(source, pre_buffer=False, buffer_size=_PAGES))
    except (pa.ArrowException, OSError) as error:
        raise _damage(file, str(error)) from error


def _damage(file: DataFile, detail: str, after: str = "") -> SourceError:
    where = Where(file.shown)
    if "size is 0 bytes" in detail:
        return SourceError("the file is empty", where=where)
    what = (
        f"the file is cut short{after}, or is no Parquet file"
        if "magic bytes" in detail
        else f"corrupt{after}"
    )
    return SourceError(
        f"{what} ({detail.splitlines()[0]})", where=where, remedy="Fetch or write the file again"
    )


def _rows_at_once(metadata: pq.FileMetaData, batch_bytes: int) -> int:
    size = sum(metadata.row_group(i).total_byte_size for i in range(metadata.num_row_groups))
    return int(min(_MOST_ROWS, max(1, batch_bytes * metadata.num_rows // max(1, size))))


def _next(parts: Iterator[pa.RecordBatch], file: DataFile, reading: Reading) -> pa.RecordBatch | None:
    try:
        return next(parts, None)
    except (pa.ArrowException, OSError) as error:
        raise _damage(file, str(error), f" after row {reading.rows}") from error


def _valid(table: pa.Table, rows: Numbers, shown: str, reading: Reading) -> tuple[Numbers, pa.Table]:
    """The rows that Arrow finds sound; writers other than Arrow's own do not all see to UTF-8."""
    if _fault(table) is None:
        return rows, table
    kept = []
    for index in range(table.num_rows):
        row = table.slice(index, 1)
        faults = {name: fault for name in table.column_names if (fault := _fault(row.select([name])))}
        if not faults:
            kept.append(index)
        for column, fault in list(faults.items())[:1]:
            where = Where(shown, row=int(rows[index]), field=column)
            reading.set_aside(where, fault, expected="text in UTF-8" if "UTF-8" in fault else None)
    return rows[kept], table.take(pa.array(kept, pa.int64()))


def _fault(table: pa.Table) -> str | None:
    try:
        table.validate(full=True)
    except pa.ArrowInvalid as error:
        return "invalid UTF-8" if "UTF8" in str(error) else f"invalid data ({error})"
    return None
