"""Reading a source: its rows adapted, set down on disk, and hashed; then those that are chosen handed out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from tulu_data.engine import Spill, ahead, ordered_map, rebatch
from tulu_data.mixtures.opening import OpenSource, check_stratum, head
from tulu_data.mixtures.select import KEY, Chosen, Hashes, as_numpy
from tulu_data.progress import Progress
from tulu_data.record import Kind, content_hashes, working_schema
from tulu_data.sources import BadRow, Batch, SetAside, stop
from tulu_data.sources.adapters import adapt
from tulu_data.sources.gather import gathered


@dataclass(frozen=True)
class ReadingRules:
    """How the sources of one build are read."""

    kind: Kind
    scratch: Path
    threads: int
    batch_bytes: int
    skip_bad: bool
    limit: int | None
    progress: Progress


@dataclass
class Loaded:
    """A source that was read: its rows on disk, their hashes in memory."""

    name: str
    rows: Spill
    hashes: Hashes
    left_out: list[str] = field(default_factory=list)
    bad: list[BadRow] = field(default_factory=list)
    strata: npt.NDArray[np.int64] | None = None
    """A number for the value of the column that rows are taken by, where the recipe names one."""


@dataclass(frozen=True)
class _Piece:
    rows: pa.Table
    hashes: Hashes
    left_out: tuple[str, ...]
    bad: list[BadRow]
    position: int
    strata: pa.Array | None


def read_source(source: OpenSource, number: int, rules: ReadingRules) -> Loaded:
    """Every row of a source (or the first `limit`).

    Raises:
        SourceError: it cannot be read to its end.
        RowError: a row cannot be used, and bad rows are not skipped.
    """
    entry = source.at.entry
    unreadable = SetAside()

    def work(batch: Batch) -> _Piece:
        aside = SetAside()
        on_bad = aside if rules.skip_bad else stop
        adapted = adapt(batch, source.adapter, rules.kind, license=entry.license, on_bad=on_bad)
        return _Piece(
            adapted.rows,
            as_numpy(content_hashes(adapted.rows, rules.kind)),
            adapted.left_out,
            aside.rows,
            batch.position,
            _values(batch, adapted.rows["row"], entry.stratify.by) if entry.stratify else None,
        )

    on_bad = unreadable if rules.skip_bad else stop
    batches: Iterable[Batch] = source.source.batches(on_bad=on_bad, batch_bytes=rules.batch_bytes)
    if rules.limit is not None:
        batches = _first(batches, rules.limit)
    if key := source.adapter.gathers:
        columns = source.adapter.columns
        batches = gathered(batches, key, columns, on_bad=on_bad, batch_bytes=rules.batch_bytes)
    loaded = Loaded(
        entry.name, Spill(rules.scratch / f"source-{number:04}.arrow"), np.zeros((0, 16), np.uint8)
    )
    hashes = [loaded.hashes]
    strata: list[pa.Array] = []
    with loaded.rows, rules.progress.task(f"read {entry.name}", source.source.nbytes) as task:
        for piece in ordered_map(work, ahead(batches, rules.threads), rules.threads):
            loaded.rows.write(piece.rows)
            hashes.append(piece.hashes)
            strata += [] if piece.strata is None else [piece.strata]
            loaded.bad += piece.bad
            loaded.left_out += [name for name in piece.left_out if name not in loaded.left_out]
            task.advance(max(0, piece.position - task.done))
    loaded.hashes = np.concatenate(hashes)
    if entry.stratify:
        loaded.strata = _numbered(strata)
    loaded.left_out.sort()
    loaded.bad = sorted(
        [*unreadable.rows, *loaded.bad], key=lambda bad: (bad.where.row is None, bad.where.row or 0)
    )
    return loaded


def _values(batch: Batch, rows: pa.ChunkedArray, column: str) -> pa.Array:
    """The native values of a column, as text, of the rows that could be used.

    Raises:
        SourceError: there is no such column, or it holds more than one value per row.
    """
    check_stratum(batch, column)
    values = batch.table[column]
    places = np.searchsorted(batch.rows.to_numpy(), rows.to_numpy())
    return pc.fill_null(values.cast(pa.string()).combine_chunks(), "").take(pa.array(places))


def _numbered(values: list[pa.Array]) -> npt.NDArray[np.int64]:
    """A number for each value; which one depends on no order."""
    texts = pa.concat_arrays(values) if values else pa.array([], pa.string())
    codes = pc.rank(texts, tiebreaker="min") if len(texts) else pa.array([], pa.uint64())
    return np.unique(codes.to_numpy(), return_inverse=True)[1].astype(np.int64)


def _first(batches: Iterable[Batch], rows: int) -> Iterator[Batch]:
    for batch in batches:
        yield head(batch, rows)
        rows -= batch.table.num_rows
        if rows <= 0:
            return


@dataclass
class ChosenRows:
    """The rows taken of all sources, one source behind the other, as often as they are read.

    Batches are cut source by source, so that all but the first of a source are the same whichever sources lie
    before it: what an operator keeps of a batch between runs can be used again.
    """

    sources: Sequence[tuple[Loaded, Chosen]]
    kind: Kind
    batch_bytes: int
    progress: Progress
    told: bool = False
    """Whether somebody else tells from now on how far the work is."""
    last: bool = False
    """Whether nobody will read them again, so that each source's file can go when it was read."""
    _read: int = 0

    def __iter__(self) -> Iterator[pa.Table]:
        """The rows, with ids and sort keys; told as another pass."""
        total = sum(int(chosen.taken.sum()) for _, chosen in self.sources)
        self._read += 1
        what = "run the steps" if self._read == 1 else f"run the steps, pass {self._read}"
        progress = Progress() if self.told else self.progress
        with progress.task(what, total, "rows") as task:
            for loaded, chosen in self.sources:
                for table in rebatch(_chosen_rows(loaded, chosen, self.kind), self.batch_bytes):
                    yield table
                    task.advance(table.num_rows)
                if self.last:
                    loaded.rows.delete()

    def delete(self) -> None:
        """Removes what was loaded from the disk."""
        for loaded, _ in self.sources:
            loaded.rows.delete()


def _chosen_rows(loaded: Loaded, chosen: Chosen, kind: Kind) -> Iterator[pa.Table]:
    """The rows that are taken, as operators see them, with their sort key."""
    schema = working_schema(kind).append(pa.field(KEY, pa.uint64()))
    start = 0
    for table in loaded.rows.read():
        part = slice(start, start + table.num_rows)
        start = part.stop
        taken = chosen.taken[part]
        rows = table if taken.all() else table.filter(pa.array(taken))
        if not rows.num_rows:
            continue
        columns = {name: rows[name] for name in rows.column_names} | {
            "id": chosen.ids(part),
            "source": pa.repeat(pa.scalar(loaded.name), rows.num_rows),
            "verdict": pa.nulls(rows.num_rows, pa.string()),
            KEY: pa.array(chosen.keys[part][taken]),
        }
        yield pa.table([columns[name] for name in schema.names], schema=schema)
