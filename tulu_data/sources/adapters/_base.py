"""What an adapter is, and the native rows as it sees them."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tulu_data.errors import SourceError
from tulu_data.record import Kind
from tulu_data.sources.adapters._arrow import is_text, one_chunk, texts
from tulu_data.sources.adapters._mixed import unmix
from tulu_data.sources.batch import BadRow, Batch
from tulu_data.sources.json_text import is_json_text

ROW_TEXT = 300
"""Characters of a bad row that a report shows: enough to know it by."""


class Adapter(ABC):
    """Maps the native columns of one published shape to the content columns of a kind, row for row."""

    name: ClassVar[str]
    """The word for `adapter:` in a recipe; permanent."""
    kinds: ClassVar[tuple[Kind, ...]]
    """What it can produce; the first is its natural kind."""
    needs: ClassVar[str]
    """The columns it is known by, for the reader of an error."""
    gathers: ClassVar[str] = ""
    """A column, or a dotted path to a field; rows that are equal in it reach `convert` as one row of lists.

    See `sources.gather`. Such an adapter makes rows for recipes, not for output in the native shape.
    """
    columns: ClassVar[tuple[str, ...]] = ()
    """Where it gathers: the columns it needs. A whole source of them is held in memory."""

    completes: ClassVar[bool] = False
    """Whether its preference rows come as completions, of which a recipe's step `pair` makes pairs."""

    @property
    def only_recipes(self) -> str:
        """Why only a recipe can use it; empty where any command can."""
        if self.gathers:
            return f"the rows that are equal in {self.gathers} become one"
        return (
            "each row holds several answers, of which the step `pair` makes a pair" if self.completes else ""
        )

    @abstractmethod
    def matches(self, sample: pa.Table) -> bool:
        """Whether rows of these columns and values have this shape."""

    @abstractmethod
    def convert(self, rows: Rows, kind: Kind) -> Mapping[str, pa.Array]:
        """The content columns it can fill, as long as the batch; rows reported as bad are dropped later."""


class Rows:
    """The native rows of a batch: hands out columns, remembers which were used, gathers the bad rows.

    Bad rows are gathered rather than reported at once, because columns are checked one after the other and
    reports come in row order.
    """

    def __init__(self, batch: Batch) -> None:
        self.batch = batch
        self.table = unmix(batch.table)
        self.used: set[str] = set()
        self.left_out: list[str] = []
        self.notes: dict[str, pa.Array] = {}
        """Scalar columns that the adapter adds to `native`."""
        self.upstream: pa.Array | None = None
        """The upstream ids, where the adapter knows better than the names of columns do."""
        self._bad: dict[int, BadRow] = {}

    def __len__(self) -> int:
        return int(self.table.num_rows)

    def first(self, names: Iterable[str]) -> str | None:
        """The first of `names` that is a column."""
        return next((name for name in names if name in self.table.column_names), None)

    def column(self, *names: str) -> tuple[str, pa.Array]:
        """The first of `names` that is a column, and its values.

        Raises:
            SourceError: if there is none, which only an adapter named by hand can meet.
        """
        name = self.first(names)
        if name is None:
            raise SourceError(
                f"no column named {' or '.join(names)}",
                where=self.batch.file,
                expected=f"the columns of the adapter; there are: {', '.join(self.table.column_names)}",
            )
        self.used.add(name)
        return name, one_chunk(self.table[name])

    def text(self, *names: str) -> tuple[str, pa.Array]:
        """Like `column`, as text.

        Raises:
            SourceError: also if the column holds something else.
        """
        name, values = self.column(*names)
        if not is_text(values.type):
            raise SourceError(
                f"column {name!r} holds {values.type}", where=self.batch.file, expected="text in this column"
            )
        return name, texts(values)

    def optional(self, *names: str) -> pa.Array | None:
        """The first of `names` that is a column of text, if there is one."""
        name = next((n for n in names if is_text_column(self.table, n)), None)
        return None if name is None else self.text(name)[1]

    def required(self, *names: str) -> pa.Array:
        """Like `text`; rows where it is null are bad."""
        name, values = self.text(*names)
        self.refuse_nulls(values, name)
        return values

    def refuse_nulls(self, values: pa.Array, field: str, expected: str = "text") -> None:
        """Report the rows where `values` is null."""
        if values.null_count:
            for index in np.flatnonzero(pc.is_null(values).to_numpy(zero_copy_only=False)):
                self.bad(int(index), f"{field} is null", field, expected)

    def refuse_inner_nulls(
        self, values: pa.Array, offsets: np.ndarray[Any, Any], column: str, field: str
    ) -> None:
        """Report the rows in whose lists, cut at `offsets`, `values` is null."""
        for place in np.flatnonzero(values.is_null().to_numpy(zero_copy_only=False)):
            row = int(np.searchsorted(offsets, place, side="right")) - 1
            name = f"{column}[{place - offsets[row]}].{field}"
            self.bad(row, f"{name} is null", name, "text")

    def bad(self, index: int, reason: str, field: str, expected: str | None = None) -> None:
        """Report that the row at `index` cannot be used; a row's first fault stands."""
        if index not in self._bad:
            text = self._row_text(index)[:ROW_TEXT]
            self._bad[index] = BadRow(self.batch.where(index, field), reason, expected, text)

    def _row_text(self, index: int) -> str:
        """The row as its file has it; as JSON where that is not text."""
        if self.batch.texts is not None:
            return self.batch.texts(index)
        part = self.batch.table.slice(index, 1)
        row = part.to_pylist()[0]
        marked = [f.name for f in part.schema if is_json_text(f) and isinstance(row[f.name], str)]
        return json.dumps(row | {n: json.loads(row[n]) for n in marked}, ensure_ascii=False, default=str)

    @property
    def bad_rows(self) -> Sequence[tuple[int, BadRow]]:
        """Every bad row with its place in the batch, in order."""
        return sorted(self._bad.items(), key=lambda item: item[0])


def is_text_column(table: pa.Table, name: str) -> bool:
    """Whether `name` is a column of text."""
    return name in table.column_names and is_text(table.schema.field(name).type)


def column_type(table: pa.Table, name: str) -> pa.DataType:
    """The type of a column, or null if there is none of that name."""
    return table.schema.field(name).type if name in table.column_names else pa.null()


def some(values: Iterable[Any]) -> bool:
    """Whether any of a sample's values is true."""
    return any(bool(v) for v in values)
