"""What every reader does to its tables: plain types, batches of bounded size, the numbers of their rows."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from tulu_data.errors import Where
from tulu_data.sources.batch import BadRow, Batch, OnBad, RowText

Numbers = npt.NDArray[np.int64]

EXCERPT = 200
"""How many characters of a bad row's text are kept."""


@dataclass
class Reading:
    """One pass over a source: what to do with bad rows, and how far it has come."""

    on_bad: OnBad
    batch_bytes: int
    rows: int = 0
    """Rows begun so far, those that were set aside too; so also the number of the next row."""
    done: int = 0
    """Bytes on disk of the files that were read to their end."""

    def set_aside(self, where: Where, reason: str, *, expected: str | None = None, text: str = "") -> None:
        """Tell `on_bad` of a row that cannot be used; it may raise."""
        self.on_bad(BadRow(where, reason, expected, text[:EXCERPT]))

    def batches(
        self,
        table: pa.Table,
        rows: Numbers,
        file: str,
        lines: Numbers | None = None,
        position: int = 0,
        texts: RowText | None = None,
    ) -> Iterator[Batch]:
        """`table` in slices of about `batch_bytes`; `position` counts within its file."""
        step = max(1, table.num_rows // max(1, -(-table.nbytes // self.batch_bytes)))
        for start in range(0, table.num_rows, step):
            part = slice(start, start + step)
            numbers = pa.array(lines[part]) if lines is not None else None
            yield Batch(
                table.slice(start, step),
                pa.array(rows[part]),
                file,
                numbers,
                self.done + position,
                _behind(texts, start),
            )


def _behind(texts: RowText | None, start: int) -> RowText | None:
    return None if texts is None else lambda index: texts(start + index)


def plain(table: pa.Table) -> pa.Table:
    """`table` with the plain form of every type: `string` for large, viewed and dictionary strings.

    Polars and `datasets` write the other forms; whoever reads a column should not have to know them all.
    """
    schema = pa.schema([pa.field(f.name, plain_type(f.type)) for f in table.schema])
    return table if table.schema.types == schema.types else table.cast(schema)


def plain_type(kind: pa.DataType) -> pa.DataType:
    """The plain form of one type, inside lists and structs too.

    >>> plain_type(pa.large_list(pa.dictionary(pa.int8(), pa.large_string())))
    ListType(list<item: string>)
    """
    if pa.types.is_dictionary(kind):
        return plain_type(kind.value_type)
    if pa.types.is_large_string(kind) or kind == pa.string_view():
        return pa.string()
    if pa.types.is_large_binary(kind) or kind == pa.binary_view():
        return pa.binary()
    if pa.types.is_struct(kind):
        return pa.struct([pa.field(f.name, plain_type(f.type)) for f in kind])
    if is_list(kind):
        return pa.list_(pa.field("item", plain_type(kind.value_type)))
    return kind


def is_list(kind: pa.DataType) -> bool:
    """Whether `kind` is any of Arrow's forms of a list."""
    return any(
        test(kind)
        for test in (
            pa.types.is_list,
            pa.types.is_large_list,
            pa.types.is_fixed_size_list,
            pa.types.is_list_view,
            pa.types.is_large_list_view,
        )
    )


def constants(values: dict[str, Any], table: pa.Table) -> pa.Table:
    """`table` with a column for each of `values`, the same in every row; its own columns go before."""
    for name, value in values.items():
        if name not in table.column_names:
            table = table.append_column(name, pa.repeat(pa.scalar(value), table.num_rows))
    return table
