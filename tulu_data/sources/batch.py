"""What readers hand to adapters: native rows with their numbers, and what becomes of a row that is no use."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import pyarrow as pa

from tulu_data.errors import RowError, Where

AS_JSON = {b"tulu_data": b"json"}
"""The metadata of a field whose values are given as JSON text, because no Arrow type holds what they mix."""


RowText = Callable[[int], str]


@dataclass(frozen=True)
class Batch:
    """Native rows of one file, whole and in reading order.

    `rows` (int64) numbers them within the source from 0, counting the rows that were set aside too; `lines`
    are the lines of a text file they begin on (from 1), where there are lines. `position` is how many of the
    source's `nbytes` on disk were read to come here.
    """

    table: pa.Table
    rows: pa.Array
    file: str
    lines: pa.Array | None = None
    position: int = 0
    texts: RowText | None = None
    """Where the file is JSON: from the index of a row to its text as it stands there."""

    def where(self, index: int, column: str | None = None) -> Where:
        """The place of the row at `index` of this batch."""
        line = self.lines[index].as_py() if self.lines is not None else None
        return Where(self.file, line, self.rows[index].as_py(), column)


@dataclass(frozen=True)
class BadRow:
    """A row that cannot be used, why, and the beginning of its text."""

    where: Where
    reason: str
    expected: str | None = None
    text: str = ""


OnBad = Callable[[BadRow], None]


def stop(bad: BadRow) -> None:
    """The default: the first bad row ends the work."""
    raise RowError(
        bad.reason,
        where=bad.where,
        expected=bad.expected,
        remedy="`--bad-rows skip` sets such rows aside and goes on",
    )


def refuse(bad: BadRow) -> None:
    """For data of which every row is needed: a bad row ends the work, and no option skips it."""
    raise RowError(bad.reason, where=bad.where, expected=bad.expected)


@dataclass
class SetAside:
    """`--bad-rows skip`: keeps what is wrong with each bad row, for a file beside the output."""

    rows: list[BadRow] = field(default_factory=list)

    def __call__(self, bad: BadRow) -> None:
        """Keep it."""
        self.rows.append(bad)


BAD_ROWS = pa.schema(
    [
        ("source", pa.string()),
        ("file", pa.string()),
        ("line", pa.int64()),
        ("row", pa.int64()),
        ("field", pa.string()),
        ("reason", pa.string()),
        ("expected", pa.string()),
        ("text", pa.string()),
    ]
)
"""The columns of `bad_rows.parquet`."""


def bad_rows_table(bad_rows: Iterable[tuple[str, BadRow]]) -> pa.Table:
    """What was set aside, and why, as `BAD_ROWS`: pairs of a source's name and a row of it."""
    rows = [
        {
            "source": source,
            "file": bad.where.file,
            "line": bad.where.line,
            "row": bad.where.row,
            "field": bad.where.field,
            "reason": bad.reason,
            "expected": bad.expected,
            "text": bad.text,
        }
        for source, bad in bad_rows
    ]
    return pa.Table.from_pylist(rows, schema=BAD_ROWS)
