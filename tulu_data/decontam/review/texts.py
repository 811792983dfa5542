"""The texts of flagged rows, set down while a scan goes on: what the review page shows of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from types import TracebackType
from typing import Protocol, Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from tulu_data.engine import Spill
from tulu_data.record import MESSAGES
from tulu_data.turns import one_chunk, turns_of

Ints = npt.NDArray[np.int64]
Marks = Sequence[tuple[int, int]]

PLACES = pa.schema(
    [
        ("row_id", pa.string()),
        ("row", pa.int64()),  # which row of its dataset, from 0 in reading order
        ("column", pa.string()),
        ("message", pa.int32()),
        ("role", pa.string()),  # null for a text that is no message
        ("text", pa.string()),  # whole, or the pieces that were kept, one behind the other
        ("length", pa.int32()),  # characters of the whole text
        ("starts", pa.list_(pa.int32())),  # where the pieces of a long text lie in it; null where it is whole
        ("ends", pa.list_(pa.int32())),
    ]
)
"""A text with marks: one row per message of a flagged row that some finding names, in the row's order."""

WHOLE = 6_000
"""Characters of the longest text that is kept whole: some three screens of it."""
AROUND = 600
"""Characters that are kept on each side of a mark in a longer one: about a paragraph."""
MOST = 16_000
"""Characters that are kept of one text in all."""
TEXT_BYTES = 192 << 20
"""Bytes of text that are kept of one run: a browser has to hold the page."""
BATCH_BYTES = 1 << 20
"""Bytes that wait in memory before they are set down."""


def cut(length: int, marks: Marks) -> list[tuple[int, int]]:
    """The pieces `[start, end)` to keep of a text: all of it, or what lies around its marks.

    >>> cut(100, [(10, 20)]), cut(50_000, [(100, 120), (900, 950), (40_000, 40_010)])
    ([(0, 100)], [(0, 1550), (39400, 40610)])
    """
    if length <= WHOLE:
        return [(0, length)]
    pieces: list[tuple[int, int]] = []
    for start, end in sorted(marks) or [(0, 0)]:
        first, last = max(0, start - AROUND), min(length, end + AROUND)
        if pieces and first <= pieces[-1][1]:
            pieces[-1] = (pieces[-1][0], max(last, pieces[-1][1]))
        else:
            pieces.append((first, last))
    kept, left = [], MOST
    for first, last in pieces:
        kept.append((first, min(last, first + left)))
        left -= kept[-1][1] - first
        if not left:
            break
    return kept


class RowTexts:
    """The marked texts of flagged rows, in a file; for one run, from any number of threads.

    Beyond `TEXT_BYTES` no further text is kept; the page says so where one is missing.
    """

    def __init__(self, path: Path) -> None:
        self._spill = Spill(path)
        self._lock = Lock()
        self._waiting: list[pa.Table] = []
        self._bytes = 0  # that wait
        self._left = TEXT_BYTES

    def append(self, row_ids: pa.Array, rows: pa.Table, findings: pa.Array) -> None:
        """Keeps what the findings mark in some rows.

        Args:
            row_ids: our ids of the rows.
            rows: the rows as adapted: their texts, and `row` where it is known.
            findings: for each row the list of its findings, as `findings_of` gives it.
        """
        if self._left <= 0:
            return
        places = marked_places(row_ids, rows, findings)
        with self._lock:
            if self._left <= 0 or not places.num_rows:
                return
            size = int(pc.sum(pc.binary_length(places["text"])).as_py() or 0)
            self._left -= size
            self._bytes += size
            self._waiting.append(places)
            if self._bytes >= BATCH_BYTES:
                self._flush()

    def _flush(self) -> None:
        if self._waiting:
            self._spill.write(pa.concat_tables(self._waiting).combine_chunks())
            self._waiting, self._bytes = [], 0

    def read(self) -> Iterator[pa.Table]:
        """All that was kept, as `PLACES`; the places of a row lie together. Nothing is appended after."""
        self._flush()
        self._spill.close()
        yield from self._spill.read()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._spill.close()
        self._spill.delete()


class Texts(Protocol):
    """Texts that were kept for the page."""

    def read(self) -> Iterator[pa.Table]:
        """All of them, as `PLACES`; the places of a row lie together."""
        ...


@dataclass(frozen=True)
class KeptTexts:
    """Texts that lie in a table."""

    table: pa.Table

    def read(self) -> Iterator[pa.Table]:
        """All of them."""
        yield self.table


def marked_places(row_ids: pa.Array, rows: pa.Table, findings: pa.Array) -> pa.Table:
    """The texts that the findings of some rows mark, long ones cut, as `PLACES`."""
    flat = findings.flatten()
    owners = pc.list_parent_indices(findings)
    lists = pc.struct_field(flat, "train_spans")
    spans = lists.flatten()
    row = _ints(owners.take(pc.list_parent_indices(lists)))
    message, start, end = (_ints(pc.struct_field(spans, name)) for name in ("message", "start", "end"))
    columns = pc.struct_field(spans, "column")
    parts = []
    for name in pc.unique(columns).to_pylist():
        chosen = pc.equal(columns, name).to_numpy(zero_copy_only=False)
        of = (row[chosen], message[chosen], start[chosen], end[chosen])
        parts.append(_places(name, one_chunk(rows[name]), *of))
    found = pa.concat_tables([*parts, _NO_PLACES])
    order = np.argsort(_ints(found["owner"]), kind="stable")
    found = found.take(pa.array(order))
    numbers = one_chunk(found["owner"])
    where = rows["row"] if "row" in rows.column_names else pa.nulls(rows.num_rows, pa.int64())
    own = {"row_id": row_ids.take(numbers), "row": one_chunk(where).take(numbers)}
    return pa.table({**own, **{f.name: found[f.name] for f in PLACES if f.name not in own}}, schema=PLACES)


def _ints(values: pa.Array | pa.ChunkedArray) -> Ints:
    return np.asarray(one_chunk(values).to_numpy(zero_copy_only=False), np.int64)


_NO_PLACES = pa.schema([pa.field("owner", pa.int64()), *list(PLACES)[2:]]).empty_table()


def _places(name: str, column: pa.Array, row: Ints, message: Ints, start: Ints, end: Ints) -> pa.Table:
    """The marked texts of one column, each once, with the number of its row."""
    if column.type == MESSAGES:
        turns = turns_of(column)
        firsts = np.concatenate([[0], np.cumsum(turns.sizes())])
        roles, texts = turns.roles, turns.texts
    else:
        firsts = np.arange(len(column))
        roles, texts = pa.nulls(len(column), pa.string()), column
    numbers, inverse = np.unique(firsts[row] + message, return_inverse=True)
    owners = np.zeros(len(numbers), np.int64)
    messages = np.zeros(len(numbers), np.int64)
    owners[inverse], messages[inverse] = row, message
    taken = pc.fill_null(texts.take(pa.array(numbers)), "")
    lengths = pc.utf8_length(taken)
    shown, starts, ends = _cut_long(taken, _ints(lengths), inverse, start, end)
    return pa.table(
        [
            pa.array(owners),
            pa.array([name] * len(numbers), pa.string()),
            pa.array(messages, pa.int32()),
            roles.take(pa.array(numbers)),
            shown,
            lengths.cast(pa.int32()),
            starts,
            ends,
        ],
        schema=_NO_PLACES.schema,
    )


def _cut_long(
    texts: pa.Array, lengths: Ints, of: Ints, start: Ints, end: Ints
) -> tuple[pa.Array, pa.Array, pa.Array]:
    """The texts, the long ones cut; and where their pieces begin and end.

    Args:
        texts: each text once.
        lengths: of the texts, in characters.
        of: the text of every mark.
        start: where every mark begins.
        end: where every mark ends.
    """
    starts: list[list[int] | None] = [None] * len(texts)
    ends: list[list[int] | None] = [None] * len(texts)
    long = np.flatnonzero(lengths > WHOLE).tolist()
    values = texts.to_pylist() if long else []
    for number in long:
        its = of == number
        pieces = cut(int(lengths[number]), list(zip(start[its].tolist(), end[its].tolist(), strict=True)))
        values[number] = "".join(values[number][first:last] for first, last in pieces)
        starts[number] = [first for first, _ in pieces]
        ends[number] = [last for _, last in pieces]
    shown = pa.array(values, pa.string()) if long else texts
    return shown, pa.array(starts, pa.list_(pa.int32())), pa.array(ends, pa.list_(pa.int32()))
