"""csv and tsv: every cell is text, quotes may hold line breaks, and each row knows the line it begins on."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence

import numpy as np
import pyarrow as pa

from tulu_data.errors import SourceError, Where
from tulu_data.sources.batch import Batch
from tulu_data.sources.streams import DataFile, Stream, whole_lines
from tulu_data.sources.tables import Reading

_TEXT = 8 << 20
"""Characters that are gathered into one Arrow table."""

_LONGEST_CELL = 1 << 30
"""The csv module's own limit, 128 KiB, is less than one conversation."""

Row = tuple[list[str] | None, int, str]
"""The cells of a row, the line it begins on, and what is wrong with it."""


def read_delimited(
    file: DataFile, reading: Reading, delimiter: str, columns: Sequence[str] | None
) -> Iterator[Batch]:
    """The rows of a csv or tsv file; `columns` names the columns where the file has no header."""
    begun = reading.rows
    with Stream(file) as stream:
        lines = _Lines(stream)
        rows = _rows(lines, delimiter)
        table = _Gathered(file.shown, reading, columns or _header(rows, file))
        for row in rows:
            if table.add(row) > _TEXT:
                yield from table.batches(stream.position)
        yield from table.batches(stream.position)
    if reading.rows == begun:
        raise SourceError("the file holds a header and no rows", where=Where(file.shown))


class _Lines:
    """The lines of a stream as text, and what is wrong with some of them."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self.faults: dict[int, str] = {}

    def __iter__(self) -> Iterator[str]:
        for data, _ in whole_lines(self._stream):
            lines = data.split(b"\n")
            if not lines[-1]:
                lines.pop()
            for line in lines:
                self._stream.lines += 1
                yield self._text(line, self._stream.lines)

    def _text(self, line: bytes, number: int) -> str:
        if b"\0" in line:
            self.faults[number] = f"a NUL byte, at byte {line.index(0) + 1} of line {number}"
        try:
            return line.decode("utf-8") + "\n"
        except UnicodeDecodeError as error:
            what = f"invalid UTF-8, at byte {error.start + 1} of line {number} (0x{line[error.start]:02x})"
            self.faults[number] = what
            return line.decode("utf-8", errors="replace") + "\n"


def _rows(lines: _Lines, delimiter: str) -> Iterator[Row]:
    """Every row that is not blank. Quotes are read strictly, so that none vanishes from a text."""
    csv.field_size_limit(_LONGEST_CELL)
    reader = csv.reader(iter(lines), delimiter=delimiter, strict=True)
    while True:
        first = reader.line_num + 1
        cells, fault = None, ""
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            fault = _quoting(str(error), first)
        for number in [n for n in lines.faults if n <= reader.line_num]:
            fault = lines.faults.pop(number)
        if cells != []:
            yield cells, first, fault


def _quoting(error: str, line: int) -> str:
    if "unexpected end" in error:
        return f"the quote that opens on line {line} is never closed"
    return f"a stray quote ({error})"


def _header(rows: Iterator[Row], file: DataFile) -> list[str]:
    cells, line, fault = next(rows, (None, 0, "the file is empty: every line is blank"))
    where = Where(file.shown, line or None)
    if fault or not cells:
        raise SourceError(fault, where=where)
    repeated = sorted({name for name in cells if cells.count(name) > 1})
    if repeated:
        raise SourceError(
            f"the header names {', '.join(map(repr, repeated))} more than once",
            where=where,
            remedy="For a file without a header, `columns:` names its columns",
        )
    return cells


class _Gathered:
    """Rows on their way into an Arrow table."""

    def __init__(self, shown: str, reading: Reading, names: Sequence[str]) -> None:
        self._shown, self._reading, self._names = shown, reading, names
        self._cells: list[list[str]] = []
        self._numbers: list[tuple[int, int]] = []
        self._size = 0

    def add(self, row: Row) -> int:
        """Take a row, or set it aside; returns how many characters are gathered."""
        cells, line, fault = row
        where = Where(self._shown, line, self._reading.rows)
        self._reading.rows += 1
        if not fault and cells is not None and len(cells) != len(self._names):
            fault = f"the row has {len(cells)} cells"
        if fault or cells is None:
            expected = f"{len(self._names)} cells: {', '.join(self._names)}" if "cells" in fault else None
            self._reading.set_aside(where, fault, expected=expected, text=", ".join(cells or []))
            return self._size
        self._cells.append(cells)
        self._numbers.append((where.row or 0, line))
        self._size += sum(map(len, cells))
        return self._size

    def batches(self, position: int) -> Iterator[Batch]:
        """What was gathered, and begin anew."""
        if not self._cells:
            return
        columns = [pa.array(column, pa.string()) for column in zip(*self._cells, strict=True)]
        table = pa.table(dict(zip(self._names, columns, strict=True)))
        rows, lines = np.array(self._numbers, np.int64).T
        self._cells, self._numbers, self._size = [], [], 0
        yield from self._reading.batches(table, rows, self._shown, lines, position)
