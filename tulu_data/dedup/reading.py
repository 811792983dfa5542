"""The data that `dedup` reads: adapted, and set down narrow, with an id for every row."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from tulu_data.dedup.clusters import Longs, numbered
from tulu_data.dedup.compared import By
from tulu_data.engine import BATCH_BYTES, Spill, ordered_map
from tulu_data.errors import SourceError, UsageError, unknown
from tulu_data.progress import Progress
from tulu_data.record import Kind, content_hashes, row_ids
from tulu_data.sources import BadRow, Batch, SetAside, Source, stop
from tulu_data.sources.adapters import Adapter, adapt, detect, get
from tulu_data.sources.data import Data
from tulu_data.turns import one_chunk

TOLD = ("row", "upstream_id")
"""Columns that go to `clusters.parquet`, beside those that are compared."""


@dataclass
class Opened:
    """One data set whose first batch was read, so that its shape is known."""

    data: Data
    source: Source
    adapter: Adapter | None
    batches: Iterator[Batch]
    unreadable: SetAside


@dataclass
class Loaded:
    """One data set, read: its rows wait in `rows`, without id and source."""

    data: Data
    rows: Spill
    numbers: Longs
    """Of every row its number in the source, ascending."""
    ids: list[pa.Array] = field(default_factory=list)
    """Of every row of each table of `rows`."""
    bad: list[BadRow] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.numbers)

    def tables(self) -> Iterator[pa.Table]:
        """The rows as operators see them."""
        for table, ids in zip(self.rows.read(), self.ids, strict=True):
            source = pa.repeat(pa.scalar(self.data.name), table.num_rows)
            yield table.append_column("id", ids).append_column("source", source)


@dataclass(frozen=True)
class Reading:
    """What all data sets of a run have in common."""

    kind: Kind
    columns: tuple[str, ...]
    """What is needed of each row, beside its id and source."""
    scratch: Path
    threads: int
    skip_bad: bool
    progress: Progress


def open_data(data: Data, mirror: Path | None, *, skip_bad: bool) -> Opened:
    """Opens a data set and looks at its first batch.

    Raises:
        SourceError: it cannot be read, or no adapter knows its shape.
        RowError: a row cannot be read, and bad rows are not skipped.
    """
    source, unreadable = data.open(mirror), SetAside()
    batches = source.batches(on_bad=unreadable if skip_bad else stop, batch_bytes=BATCH_BYTES)
    first = next(batches, None)
    named = get(data.adapter, in_recipe=False) if data.adapter else None
    adapter = named or (detect(first.table, where=data.spec.from_) if first else None)
    return Opened(data, source, adapter, chain([first] if first else [], batches), unreadable)


def common_kind(opened: Sequence[Opened], by: By) -> Kind:
    """What the rows of all data sets are compared as.

    Raises:
        UsageError: they hold rows of different kinds, which have not enough in common.
    """
    shaped = [(one.data.name, one.adapter) for one in opened if one.adapter]
    if not shaped:
        return "sft"
    natural = {adapter.kinds[0]: name for name, adapter in shaped}
    if len(natural) == 1:
        return next(iter(natural))
    if by == "prompt" and all("prompts" in adapter.kinds for _, adapter in shaped):
        return "prompts"
    (one, first), (other, second), *_ = natural.items()
    raise UsageError(
        f"{first} holds {one} rows and {second} {other} rows", expected="data of one kind",
        remedy="`--by prompt` compares sft, rlvr and prompts rows; others are deduplicated apart",
    )  # fmt: skip


def load(opened: Opened, number: int, reading: Reading) -> Loaded:
    """Reads a data set to its end.

    Raises:
        SourceError: it cannot be read to its end, or none of its rows can be used.
        RowError: a row cannot be used, and bad rows are not skipped.
        UsageError: a column that is to be compared is not there.
    """
    loaded = Loaded(opened.data, Spill(reading.scratch / f"{number:04}.arrow"), np.zeros(0, np.int64))
    hashes, numbers = [np.zeros((0, 2), np.uint64)], [loaded.numbers]
    name, nbytes = opened.data.name, opened.source.nbytes
    work = _Adapting(opened.adapter, reading)
    with loaded.rows, reading.progress.task(f"read {name}", nbytes) as task:
        for rows, digests, bad, position in ordered_map(work, opened.batches, reading.threads):
            loaded.bad += bad
            task.advance(max(0, position - task.done))
            if rows.num_rows:
                loaded.rows.write(rows.combine_chunks())
                numbers.append(rows["row"].to_numpy())
                hashes.append(digests)
    loaded.bad = sorted([*opened.unreadable.rows, *loaded.bad], key=lambda bad: bad.where.row or 0)
    loaded.numbers = np.concatenate(numbers)
    loaded.ids = list(_ids(name, hashes[1:]))
    if loaded.bad and not len(loaded):
        raise SourceError(
            f"none of its {len(loaded.bad):,} rows could be used", where=opened.data.spec.from_,
            remedy=f"The first: {loaded.bad[0].where}: {loaded.bad[0].reason}",
        )  # fmt: skip
    return loaded


@dataclass(frozen=True)
class _Adapting:
    """Adapts batches and cuts away what is not needed; runs in threads."""

    adapter: Adapter | None
    reading: Reading

    def __call__(self, batch: Batch) -> tuple[pa.Table, npt.NDArray[np.uint64], list[BadRow], int]:
        assert self.adapter is not None
        aside, kind = SetAside(), self.reading.kind
        on_bad = aside if self.reading.skip_bad else stop
        rows = adapt(batch, self.adapter, kind, on_bad=on_bad).rows
        digests = np.frombuffer(content_hashes(rows, kind).buffers()[1], np.uint64).reshape(-1, 2)
        narrow = {name: self._column(name, rows, batch) for name in (*self.reading.columns, *TOLD)}
        return pa.table(narrow), digests, aside.rows, batch.position

    def _column(self, name: str, rows: pa.Table, batch: Batch) -> pa.ChunkedArray:
        """A column of ours, or one of the data's own with text."""
        if name in rows.column_names:
            return rows[name]
        native = batch.table
        if name not in native.column_names:
            known = {*rows.column_names, *native.column_names} - {"row", "native"}
            raise unknown("column", name, known, where=batch.file)
        column = native[name]
        if not (pa.types.is_string(column.type) or pa.types.is_large_string(column.type)):
            raise UsageError(f"the column {name!r} holds {column.type}", where=batch.file, expected="text")
        kept = positions(one_chunk(rows["row"]).to_numpy(), batch.rows.to_numpy()) >= 0
        return column.filter(pa.array(kept)).cast(pa.string())


def positions(known: Longs, numbers: Longs) -> Longs:
    """Where each number stands in `known`, which ascends; -1 where it does not."""
    if not len(known):
        return np.full(len(numbers), -1)
    place = np.minimum(np.searchsorted(known, numbers), len(known) - 1)
    return np.where(known[place] == numbers, place, -1)


def _ids(name: str, digests: Sequence[npt.NDArray[np.uint64]]) -> Iterator[pa.Array]:
    """`source/hash/occurrence` of the rows of every table, from their content hashes."""
    if not digests:
        return
    groups, sizes = numbered(np.concatenate(digests))
    order = np.argsort(groups, kind="stable")  # reading order within equal rows
    times = np.empty(len(groups), np.int64)
    times[order] = np.arange(len(groups)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    start = 0
    for part in digests:
        raw = pa.FixedSizeBinaryArray.from_buffers(
            pa.binary(16), len(part), [None, pa.py_buffer(part.tobytes())]
        )
        yield row_ids(name, raw, pa.array(times[start : start + len(part)]))
        start += len(part)
