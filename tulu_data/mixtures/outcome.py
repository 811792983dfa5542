"""Where rows go at the end of a plan: kept ones wait for the writer, rejected ones go to `dropped/`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

import pyarrow as pa
import pyarrow.compute as pc

from tulu_data.engine import Spill, sorted_rows
from tulu_data.mixtures.check import KEY, ReadyStep
from tulu_data.mixtures.recipe import Layout
from tulu_data.mixtures.writer import GroupWriter, LogicalHash, ShardWriter, shard_sizes, text_bytes
from tulu_data.record import CONTENT, LINEAGE, OUTPUT, VERDICT, Kind, working_schema

OPTIONAL: dict[Kind, tuple[str, ...]] = {
    "sft": ("tools",),
    "prompts": ("tools",),
    "preference": ("chosen_rating", "rejected_rating", "chosen_model", "rejected_model"),
    "rlvr": (),
}
"""Columns that `data/` has only where some row has a value in them, as in the published datasets."""

STEP = pa.field("step", pa.int64())


def stored(schema: pa.Schema) -> list[pa.Field]:
    """The columns of a working table that are kept: those that begin with `_` are the operators' own."""
    return [f for f in schema if not f.name.startswith("_")]


class Dropped:
    """`dropped/02-exact_dedup.parquet` and so on: every rejected row, its verdict and the evidence."""

    def __init__(self, folder: Path, steps: Sequence[ReadyStep]) -> None:
        self.folder = folder
        self.counts: Counter[tuple[str, str]] = Counter()
        """Rows by source and verdict."""
        self._steps = [number for number, step in enumerate(steps, 1) for _ in step.plan]
        self._names = [op.name for step in steps for op in step.plan]
        self._writers: dict[int, GroupWriter] = {}

    def __call__(self, table: pa.Table, place: int) -> None:
        """Takes what the operator at `place` of the plan rejected."""
        self.counts.update(zip(table["source"].to_pylist(), table[VERDICT].to_pylist(), strict=True))
        if place not in self._writers:
            schema = pa.schema([*stored(table.schema), STEP])
            self._writers[place] = GroupWriter(self.folder / self._file_name(place), schema)
        step = pa.repeat(pa.scalar(self._steps[place], pa.int64()), table.num_rows)
        self._writers[place].write(table.append_column(STEP, step))

    def _file_name(self, place: int) -> str:
        """Step and operator; where a step has an operator of that name twice, which of them."""
        stem = f"{self._steps[place]:02}-{self._names[place]}"
        here = list(zip(self._steps, self._names, strict=True))
        earlier = here[:place].count(here[place])
        return f"{stem}-{earlier + 1}.parquet" if earlier else f"{stem}.parquet"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for writer in self._writers.values():
            writer.__exit__(kind, error, trace)


@dataclass
class Totals:
    """What was kept of one source."""

    rows: int = 0
    text_bytes: int = 0


@dataclass
class Kept:
    """The rows that passed every step, on disk, and what has to be known before the first is written."""

    kind: Kind
    layout: Layout
    scratch: Path
    totals: dict[str, Totals] = field(default_factory=dict)
    """By source, in the recipe's order."""
    _spills: dict[str, Spill] = field(default_factory=dict)
    _present: set[str] = field(default_factory=set)
    _schema: pa.Schema | None = None

    def take(self, tables: Iterable[pa.Table]) -> None:
        """Sets the rows down, one file per part of the layout."""
        columns = CONTENT[self.kind].names
        for table in tables:
            self._schema = table.schema
            self._present |= {name for name in self._doubtful(table.schema) if _has_values(table[name])}
            for source, rows in _by_source(table):
                total = self.totals[source]
                total.rows += rows.num_rows
                total.text_bytes += int(text_bytes(rows, columns).sum())
                self._spill(source).write(rows)
        for spill in self._spills.values():
            spill.close()

    def _spill(self, source: str) -> Spill:
        part = source if self.layout == "by_source" else "train"
        if part not in self._spills:
            self._spills[part] = Spill(self.scratch / f"kept-{len(self._spills):04}.arrow")
        return self._spills[part]

    @property
    def rows(self) -> int:
        """How many rows there are in all."""
        return sum(total.rows for total in self.totals.values())

    def _doubtful(self, schema: pa.Schema) -> set[str]:
        """Columns stored only where some row has a value: optional ones, and what operators wrote."""
        written = {f.name for f in stored(schema)} - set(working_schema(self.kind).names)
        return written | set(OPTIONAL[self.kind])

    def schema(self) -> pa.Schema:
        """The columns of `data/`."""
        left_out = set(OPTIONAL[self.kind]) - self._present
        return pa.schema([f for f in OUTPUT[self.kind] if f.name not in left_out])

    def lineage_schema(self) -> pa.Schema:
        """The columns of `lineage.parquet`: where a row came from, and what operators wrote beside it."""
        known = set(working_schema(self.kind).names)
        written = [f for f in self._schema or () if f.name in self._present and f.name not in known]
        return pa.schema([pa.field("id", pa.string()), pa.field("source", pa.string()), *LINEAGE, *written])

    def write(self, version: Path, written: Callable[[int], None]) -> str:
        """Writes `data/` and `lineage.parquet`, and returns the logical hash of the rows."""
        schema = self.schema()
        logical = LogicalHash(self.kind, schema)
        with GroupWriter(version / "lineage.parquet", self.lineage_schema()) as lineage:
            for part, spill, sizes in self._parts():
                with ShardWriter(version / "data", part, schema, sizes) as shards:
                    for table in sorted_rows(spill.read(), KEY, spill.nbytes, self.scratch):
                        shards.write(table)
                        lineage.write(table)
                        logical.update(table)
                        written(table.num_rows)
                spill.delete()
        return logical.hexdigest()

    def _parts(self) -> Iterator[tuple[str, Spill, list[int]]]:
        """The files' prefix, rows and sizes of each part; one that is empty where nothing was kept at all."""
        if not self._spills:
            yield "train", Spill(self.scratch / "nothing.arrow"), [0]
        for part, spill in self._spills.items():
            size = sum(
                t.text_bytes for name, t in self.totals.items() if self.layout == "shuffled" or name == part
            )
            yield part, spill, shard_sizes(spill.rows, size)


def _has_values(column: pa.ChunkedArray) -> bool:
    """Whether any row has one; an empty list is none: the evidence of an operator that found nothing."""
    if pa.types.is_list(column.type):
        return bool(pc.any(pc.greater(pc.list_value_length(column), 0)).as_py())
    return bool(column.null_count < len(column))


def _by_source(table: pa.Table) -> Iterator[tuple[str, pa.Table]]:
    names = pc.unique(table["source"]).to_pylist()
    for name in names:
        yield name, table if len(names) == 1 else table.filter(pc.equal(table["source"], name))
