"""The local engine: runs a plan with threads over Arrow batches that are bounded in bytes.

A plan is a list of operators and folds. Operators between two folds run in one pass; a fold needs every row,
so the rows wait on disk while it finishes. Rejected rows leave the stream after the operator that did it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from tulu_data.engine.batches import BATCH_BYTES, ordered_map, rebatch
from tulu_data.engine.spill import Spill, disk_errors
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
    kept: pa.Table
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
        batches: Iterable[pa.Table],
        plan: Sequence[Op | Fold],
        context: Context,
        dropped: Dropped = lambda _t, _i: None,
    ) -> Iterator[pa.Table]:
        """The rows that pass the whole plan, in their order.

        `counts` and `artifacts` are complete when the stream ends. Every fold's artifact is a Parquet file of
        its own and stays there for the caller; of several folds with one name, operators see the latest.
        """
        self.counts = [Count(step.name) for step in plan]
        self.artifacts = []
        stream: Iterable[pa.Table] = batches
        spills: list[Spill] = []
        try:
            for number, (ops, folds) in enumerate(_passes(plan)):
                known = {**context.artifacts, **dict(self.artifacts)}
                here = replace(context, artifacts=known, threads=self.threads)
                results = self._pass(stream, ops, folds, here, dropped)
                if not folds:
                    for result in results:
                        yield result.kept
                    break
                spills.append(Spill(self.scratch / f"pass-{number}.arrow"))
                self._fold(results, folds, spills[-1])
                for spent in spills[:-1]:
                    spent.delete()
                stream = spills[-1].read()
        finally:
            for spill in spills:
                spill.delete()

    def _pass(
        self,
        stream: Iterable[pa.Table],
        ops: list[tuple[int, Op]],
        folds: list[tuple[int, Fold]],
        context: Context,
        dropped: Dropped,
    ) -> Iterator[_Result]:
        ready = [(place, op, op.setup(context)) for place, op in ops]
        folding = [(fold, fold.setup(context)) for _, fold in folds]

        def work(batch: pa.Table) -> _Result:
            return _apply(batch, ready, folding)

        for result in ordered_map(work, rebatch(stream, self.batch_bytes), self.threads):
            for place, rows_in, rows_out in result.seen:
                self.counts[place].rows_in += rows_in
                self.counts[place].rows_out += rows_out
            for place, table in result.dropped:
                self.counts[place].reasons.update(table[VERDICT].to_pylist())
                dropped(table, place)
            yield result

    def _fold(self, results: Iterable[_Result], folds: list[tuple[int, Fold]], spill: Spill) -> None:
        partials: list[list[pa.Table]] = [[] for _ in folds]
        with spill:
            for result in results:
                spill.write(result.kept)
                for held, partial in zip(partials, result.partials, strict=True):
                    held.append(partial)
        for (place, fold), tables in zip(folds, partials, strict=True):
            artifact = fold.finish(pa.concat_tables(tables) if tables else fold.nothing())
            path = self.scratch / f"{place:02}-{fold.name}.parquet"
            with disk_errors(path):
                pq.write_table(artifact, path, compression="zstd")
            self.artifacts.append((fold.name, path))


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


def _apply(batch: pa.Table, ops: list[tuple[int, Op, Any]], folds: list[tuple[Fold, Any]]) -> _Result:
    dropped, seen = [], []
    for place, op, state in ops:
        after = applied(op, batch, state)
        kept, rejected = _part(after)
        seen.append((place, batch.num_rows, kept.num_rows))
        if rejected.num_rows:
            dropped.append((place, rejected))
        batch = kept
    return _Result(batch, dropped, seen, [fold.partial(batch, state) for fold, state in folds])


def _part(table: pa.Table) -> tuple[pa.Table, pa.Table]:
    """The rows without and with a verdict."""
    if VERDICT not in table.column_names or table[VERDICT].null_count == table.num_rows:
        return table, table.slice(0, 0)
    kept = pc.is_null(table[VERDICT])
    return table.filter(kept), table.filter(pc.invert(kept))
