"""Rows between two passes: as they came, and over them what the passes so far have changed.

Texts are most of the bytes, and few operators change them. So rows that can be read a second time are not set
down again after every pass: they are read once more where they came from, and what waits on disk are the
columns that operators wrote. (At 2.9 GB of text, five copies less.)
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa

from tulu_data.engine.batches import ordered_map, rebatch
from tulu_data.engine.spill import Spill


@dataclass(frozen=True)
class Piece:
    """A batch as it came, which of its rows are left (all where None), and what was written over them."""

    number: int
    came: pa.Table
    left: pa.BooleanArray | None = None
    written: pa.Table | None = None
    names: Sequence[str] = ()
    """The columns in their order, where something was written."""

    def rows(self) -> pa.Table:
        """The rows as the passes so far have left them."""
        rows = self.came if self.left is None else self.came.filter(self.left)
        if self.written is None:
            return rows
        over = set(self.written.column_names)
        held = [self.written if name in over else rows for name in self.names]
        schema = pa.schema([table.schema.field(name) for table, name in zip(held, self.names, strict=True)])
        columns = [table[name] for table, name in zip(held, self.names, strict=True)]
        return pa.table(columns, schema=schema)


@dataclass
class _Layer:
    """What the passes so far have made of every batch."""

    columns: Sequence[str]
    """Those that operators wrote."""
    written: Spill
    left: dict[int, pa.BooleanArray | None] = field(default_factory=dict)
    """Of every batch that has rows left: which."""
    names: Sequence[str] = ()

    def add(self, number: int, left: pa.BooleanArray | None, rows: pa.Table) -> None:
        self.left[number] = left
        if self.columns:
            self.names = rows.column_names
            self.written.write(rows.select(self.columns).combine_chunks())

    def over(self, batches: Iterable[pa.Table]) -> Iterator[Piece]:
        written = self.written.read()
        for number, batch in enumerate(batches):
            if number in self.left:
                own = next(written) if self.columns else None
                yield Piece(number, batch, self.left[number], own, self.names)


class Layers:
    """The rows of a run, pass by pass: `begin`, `add` for every one of `pieces`, `end`; and again."""

    def __init__(self, batches: Iterable[pa.Table], limit: int, scratch: Path) -> None:
        """Takes the rows as they come.

        Args:
            batches: an iterator's rows can be had once, so they are set down after the first pass.
            limit: about how many bytes a piece may have.
            scratch: a folder for what waits on disk.
        """
        self._read: Callable[[], Iterable[pa.Table]] = lambda: batches
        self._once = iter(batches) is batches
        self._limit, self._scratch = limit, scratch
        self._columns: dict[str, None] = {}
        self._whole: Spill | None = None
        self._layer: _Layer | None = None
        self._next: _Layer | None = None
        self._passes = 0

    def pieces(self) -> Iterator[Piece]:
        """The rows as the passes so far have left them."""
        batches = rebatch(self._read(), self._limit)
        if self._layer is not None:
            return self._layer.over(batches)
        return (Piece(number, batch) for number, batch in enumerate(batches))

    def tables(self, threads: int = 1) -> Iterator[pa.Table]:
        """The rows as the passes so far have left them, as tables."""
        return ordered_map(Piece.rows, self.pieces(), threads)

    def begin(self, written: Iterable[str]) -> None:
        """A pass begins that another will follow; its operators write these columns."""
        path = self._scratch / f"pass-{self._passes}.arrow"
        self._passes += 1
        if self._once:
            self._whole = Spill(path)
        else:
            self._columns |= dict.fromkeys(written)
            self._next = _Layer(list(self._columns), Spill(path))

    def add(self, number: int, left: pa.BooleanArray | None, rows: pa.Table) -> None:
        """What the pass has left of a piece: which rows of the batch as it came, and these rows."""
        if self._next is None:
            assert self._whole is not None
            self._whole.write(rows)
        elif rows.num_rows:
            self._next.add(number, left, rows)

    def end(self) -> None:
        """The pass is through."""
        if self._next is None:
            assert self._whole is not None
            self._whole.close()
            self._read, self._once = self._whole.read, False
            return
        self._next.written.close()
        if self._layer is not None:
            self._layer.written.delete()
        self._layer, self._next = self._next, None

    def delete(self) -> None:
        """Removes what is on disk."""
        layers = [layer.written for layer in (self._layer, self._next) if layer is not None]
        for spill in (*layers, self._whole):
            if spill is not None:
                spill.delete()
