"""What readers hand to adapters: native rows with their numbers, and what to do with a row that cannot be used."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import pyarrow as pa

from tulu_data.errors import RowError, Where


@dataclass(frozen=True)
class Batch:
    """Native rows of one file, whole and in reading order.

    `rows` (int64) numbers them within the source from 0, counting the rows that were set aside too; `lines` are the
    lines of a text file they begin on (from 1), where there are lines.
    """

    table: pa.Table
    rows: pa.Array
    file: str
    lines: pa.Array | None = None

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
        bad.reason, where=bad.where, expected=bad.expected, remedy="`--bad-rows skip` sets such rows aside and goes on"
    )


@dataclass
class SetAside:
    """`--bad-rows skip`: keeps what is wrong with each bad row, for a file beside the output."""

    rows: list[BadRow] = field(default_factory=list)

    def __call__(self, bad: BadRow) -> None:
        self.rows.append(bad)
