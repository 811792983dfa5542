"""The local engine: runs a plan with threads over Arrow batches that are bounded in bytes.

A plan is a list of operators and folds. Operators between two folds run in one pass; a fold needs every row,
so another pass begins when it has finished. Rejected rows leave the stream after the operator that did it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from tulu_data.engine.batches import BATCH_BYTES, ordered_map
from tulu_data.engine.layers import Layers, Piece
from tulu_data.engine.spill import disk_errors
from tulu_data.op import Context, Fold, Op, applied
from tulu_data.record import VERDICT

Dropped = Callable[[pa.Table, int], None]
"""Takes the rows that the operator at that place of the plan rejected."""


@dataclass
class Count:
    """How many rows an operator got and gave, and why the rest was rejected."""

    name: str
    rows_in: int = 0
    rows_out: int = 0
    reasons: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True)
class _Result:
    number: int
    kept: pa.Table
    left: pa.BooleanArray | None
    """Which rows of the batch as it came are kept; all where it is None."""
    dropped: list[tuple[int, pa.Table]]
    seen: list[tuple[int, int, int]]
    partials: list[pa.Table]


@dataclass
class LocalEngine:
    """Runs plans on this machine; `scratch` is a folder of the caller's for what waits between two passes."""

    scratch: Path
    threads: int = 2
    batch_bytes: int = BATCH_BYTES
    counts: list[Count] = field(default_factory=list)
    artifacts: list[tuple[str, Path]] = field(default_factory=list)
    """What each fold of the plan found, in the plan's order: the fold's name, and its file in `scratch`."""

    def run(
        self,
        batches: Iterable[pa.Table] | Layers,
        plan: Sequence[Op | Fold],
        context: Context,
        dropped: Dropped = lambda _t, _i: None,
    ) -> Iterator[pa.Table]:
        """The rows that pass the whole plan, in their order.

        `batches` are read again for every pass, unless they are an iterator: then the rows are set down on
        disk at the first fold. `Layers` of the caller's own stay its own, and give the rows that pass once
        more when the stream has ended. `counts` and `artifacts` are complete then. Every fold's artifact is a
        Parquet file of its own and stays there for the caller; of several folds with one name, operators see
        the latest.
        """
        self.counts = [Count(step.name) for step in plan]
        self.artifacts = []
        if isinstance(batches, Layers):
            rows, own = batches, False
        else:
            rows, own = Layers(batches, self.batch_bytes, self.scratch), True
        try:
            for ops, folds in _passes(plan):
                known = {**context.artifacts, **dict(self.artifacts)}
                here = replace(context, artifacts=known, threads=self.threads)
                results = self._pass(rows.pieces(), ops, folds, here, dropped)
                if own and not folds:
                    yield from (result.kept for result in results)
                    break
                rows.begin(name for _, op in ops for name in op.writes().names)
                noted = _noted(results, rows)
                if folds:
                    self._fold(noted, folds)
                else:
                    yield from (result.kept for result in noted)
                rows.end()
        finally:
            if own:
                rows.delete()

    def _pass(
        self,
        pieces: Iterable[Piece],
        ops: list[tuple[int, Op]],
        folds: list[tuple[int, Fold]],
        context: Context,
        dropped: Dropped,
    ) -> Iterator[_Result]:
        ready = [(place, op, op.setup(context)) for place, op in ops]
        folding = [(fold, fold.setup(context)) for _, fold in folds]

        def work(piece: Piece) -> _Result:
            return _apply(piece, ready, folding)

        for result in ordered_map(work, pieces, self.threads):
            for place, rows_in, rows_out in result.seen:
                self.counts[place].rows_in += rows_in
                self.counts[place].rows_out += rows_out
            for place, table in result.dropped:
                self.counts[place].reasons.update(table[VERDICT].to_pylist())
                dropped(table, place)
            yield result

    def _fold(self, results: Iterable[_Result], folds: list[tuple[int, Fold]]) -> None:
        partials: list[list[pa.Table]] = [[] for _ in folds]
        for result in results:
            for held, partial in zip(partials, result.partials, strict=True):
                held.append(partial)
        for (place, fold), tables in zip(folds, partials, strict=True):
            artifact = fold.finish(pa.concat_tables(tables) if tables else fold.nothing())
            path = self.scratch / f"{place:02}-{fold.name}.parquet"
            with disk_errors(path):
                pq.write_table(artifact, path, compression="zstd")
            self.artifacts.append((fold.name, path))


def _noted(results: Iterable[_Result], rows: Layers) -> Iterator[_Result]:
    """The results; what each left of its piece is taken note of."""
    for result in results:
        rows.add(result.number, result.left, result.kept)
        yield result


def _passes(plan: Sequence[Op | Fold]) -> Iterator[tuple[list[tuple[int, Op]], list[tuple[int, Fold]]]]:
    """The plan cut behind each run of folds that need nothing of each other; the last pass has none."""
    ops: list[tuple[int, Op]] = []
    folds: list[tuple[int, Fold]] = []
    for place, step in enumerate(plan):
        if isinstance(step, Fold):
            if any(earlier.name in step.needs for _, earlier in folds):
                yield ops, folds
                ops, folds = [], []
            folds.append((place, step))
            continue
        if folds:
            yield ops, folds
            ops, folds = [], []
        ops.append((place, step))
    if folds:
        yield ops, folds
        ops = []
    yield ops, []


def _apply(piece: Piece, ops: list[tuple[int, Op, Any]], folds: list[tuple[Fold, Any]]) -> _Result:
    dropped, seen = [], []
    batch = piece.rows()
    places = np.arange(piece.came.num_rows) if piece.left is None else piece.left.to_numpy(False).nonzero()[0]
    for place, op, state in ops:
        after = applied(op, batch, state)
        kept, rejected, left = _part(after)
        seen.append((place, batch.num_rows, kept.num_rows))
        if left is not None:
            dropped.append((place, rejected))
            places = places[left]
        batch = kept
    partials = [fold.partial(batch, state) for fold, state in folds]
    return _Result(piece.number, batch, _mask(places, piece.came.num_rows), dropped, seen, partials)


def _mask(places: npt.NDArray[np.int64], rows: int) -> pa.BooleanArray | None:
    """True at these places of so many rows; None where they are all."""
    if len(places) == rows:
        return None
    mask = np.zeros(rows, bool)
    mask[places] = True
    return pa.array(mask)


def _part(table: pa.Table) -> tuple[pa.Table, pa.Table, npt.NDArray[np.bool_] | None]:
    """The rows without and with a verdict, and which those without are; None where they are all."""
    if VERDICT not in table.column_names or table[VERDICT].null_count == table.num_rows:
        return table, table.slice(0, 0), None
    kept = pc.is_null(table[VERDICT])
    return table.filter(kept), table.filter(pc.invert(kept)), kept.to_numpy()
