"""The rows that passed every step: noted first, then written when it is known how many of each there are."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from tulu_data.engine import SortedRows, Spill, ordered_map
from tulu_data.mixtures.amounts import Holdout
from tulu_data.mixtures.dropped import stored
from tulu_data.mixtures.recipe import Layout
from tulu_data.mixtures.select import KEY
from tulu_data.mixtures.tokens import TokenCounter
from tulu_data.mixtures.writer import GroupWriter, LogicalHash, Shard, shards, text_bytes
from tulu_data.record import (
    CONTENT,
    LINEAGE,
    MESSAGE,
    MESSAGES,
    OUTPUT,
    Kind,
    beside,
    row_hashes,
    sort_keys,
    working_schema,
)
from tulu_data.turns import one_chunk

OPTIONAL: dict[Kind, tuple[str, ...]] = {
    "sft": ("tools",),
    "prompts": ("tools",),
    "preference": ("chosen_rating", "rejected_rating", "chosen_model", "rejected_model"),
    "rlvr": (),
}
"""Columns that `data/` has only where some row has a value in them, as in the published datasets."""

TOKENS = pa.field("tokens", pa.int32())
TRAIN, TEST = "train", "test"

Numbers = npt.NDArray[np.int64]


@dataclass
class Totals:
    """What the mixture has of one source, copies counted."""

    rows: int = 0
    text_bytes: int = 0
    tokens: int = 0
    test_rows: int = 0
    """Those of the rows that are held out."""


class Own(NamedTuple):
    """The rows of one source that passed: their keys, their tokens, and which are held out."""

    keys: npt.NDArray[np.uint64]
    tokens: Numbers
    held: npt.NDArray[np.bool_]


@dataclass(frozen=True)
class _Piece:
    """What is held in memory of some rows of one source."""

    source: str
    keys: npt.NDArray[np.uint64]
    bytes: Numbers
    tokens: Numbers
    held: npt.NDArray[np.bool_]
    """Which rows go to the test split."""


@dataclass
class _Part:
    """The rows of one source or, where all are shuffled, of all, piece by piece."""

    memory: int = 0
    """About how many bytes they take, with their texts."""
    pieces: list[_Piece] = field(default_factory=list)
    copies: list[Numbers] = field(default_factory=list)
    """Of each piece, how often each row stands in the mixture; known once it is settled."""

    def measured(self, *, held: bool) -> tuple[int, int, int]:
        """The rows that are held out or not: how many, their bytes of text, and their memory (about)."""
        rows = size = 0
        for piece, copies in zip(self.pieces, self.copies, strict=True):
            taken = np.where(piece.held == held, copies, 0)
            rows += int(taken.sum())
            size += int((taken * piece.bytes).sum())
        return rows, size, self.memory * rows // max(1, sum(len(piece.keys) for piece in self.pieces))


@dataclass
class Kept:
    """Takes the rows that pass, tells what there is of each source, and writes what is taken of it."""

    kind: Kind
    layout: Layout
    seed: int
    scratch: Path
    sources: Sequence[str]
    """In the recipe's order."""
    counter: TokenCounter
    holdout: Holdout | None = None
    totals: dict[str, Totals] = field(default_factory=dict)
    """By source, in the recipe's order; known once it is settled."""
    _parts: dict[str, _Part] = field(default_factory=dict)
    _present: set[str] = field(default_factory=set)
    _schema: pa.Schema | None = None

    # -- taking ---------------------------------------------------------------------------------------------

    def take(self, tables: Iterable[pa.Table]) -> None:
        """Takes note of the rows; whoever gives them gives them again when they are written."""
        for table in tables:
            self._schema = table.schema
            self._present |= {name for name in self._doubtful(table.schema) if _has_values(table[name])}
            for source, rows in _by_source(table):
                self._add(source, rows)

    def _add(self, source: str, rows: pa.Table) -> None:
        part = self._parts.setdefault(self._part(source), _Part())
        part.memory += rows.nbytes
        tokens = self.counter.of(rows)
        sizes = text_bytes(rows, CONTENT[self.kind].names)
        piece = _Piece(source, rows[KEY].to_numpy(), sizes, tokens.astype(np.int64), self._held_out(rows))
        part.pieces.append(piece)

    def _part(self, source: str) -> str:
        return source if self.layout == "by_source" else TRAIN

    def _held_out(self, rows: pa.Table) -> npt.NDArray[np.bool_]:
        """Which rows go to the test split: by the hash of the prompt, so that equal prompts stay together."""
        if self.holdout is None:
            return np.zeros(rows.num_rows, bool)
        hashes = row_hashes(pa.table({"prompt": _prompts(rows, self.kind)}), ["prompt"])
        keys = sort_keys(pa.array([value.hex() for value in hashes.to_pylist()], pa.string()), self.seed)
        held: npt.NDArray[np.bool_] = keys.to_numpy() < np.uint64(self.holdout.fraction * 2**64)
        return held

    def _doubtful(self, schema: pa.Schema) -> set[str]:
        """Columns stored only where some row has a value: optional ones, and what operators wrote."""
        written = {f.name for f in stored(schema)} - set(working_schema(self.kind).names)
        return written | set(OPTIONAL[self.kind]) | set(beside(self.kind).names)

    # -- settling -------------------------------------------------------------------------------------------

    def of_source(self, source: str) -> Own:
        """What is known of a source's rows, in the order in which they were taken."""
        own = [piece for part in self._parts.values() for piece in part.pieces if piece.source == source]
        return Own(
            np.concatenate([np.zeros(0, np.uint64), *(piece.keys for piece in own)]),
            np.concatenate([np.zeros(0, np.int64), *(piece.tokens for piece in own)]),
            np.concatenate([np.zeros(0, np.bool_), *(piece.held for piece in own)]),
        )

    def settle(self, copies: Mapping[str, Numbers]) -> None:
        """Takes note of how often each row stands in the mixture: by source, in the order of `of_source`."""
        self.totals = {source: Totals() for source in self.sources}
        left = dict(copies)
        for part in self._parts.values():
            part.copies = []
            for piece in part.pieces:
                times, left[piece.source] = np.split(left[piece.source], [len(piece.keys)])
                part.copies.append(times)
                total = self.totals[piece.source]
                total.rows += int(times.sum())
                total.text_bytes += int((times * piece.bytes).sum())
                total.tokens += int((times * piece.tokens).sum())
                total.test_rows += int(times[piece.held].sum())

    @property
    def rows(self) -> int:
        """How many rows the mixture has in all."""
        return sum(total.rows for total in self.totals.values())

    @property
    def test_rows(self) -> int:
        """How many of them are held out."""
        return sum(total.test_rows for total in self.totals.values())

    # -- writing --------------------------------------------------------------------------------------------

    def schema(self) -> pa.Schema:
        """The columns of `data/`."""
        left_out = set(OPTIONAL[self.kind]) - self._present
        return pa.schema([f for f in OUTPUT[self.kind] if f.name not in left_out])

    def lineage_schema(self) -> pa.Schema:
        """The columns of `lineage.parquet`: where a row came from, and what operators wrote beside it."""
        known = set(working_schema(self.kind).names) - set(beside(self.kind).names)
        written = [f for f in self._schema or () if f.name in self._present and f.name not in known]
        return pa.schema(
            [pa.field("id", pa.string()), pa.field("source", pa.string()), *LINEAGE, TOKENS, *written]
        )

    def write(
        self,
        version: Path,
        again: Callable[[], Iterable[pa.Table]],
        written: Callable[[int], None],
        threads: int = 1,
    ) -> str:
        """Writes `data/`, `lineage.parquet`, and `test/` if rows are held out; returns the logical hash.

        Args:
            version: the folder to write to.
            again: gives the tables that were taken, once more.
            written: told how many more rows are done.
            threads: how many to use.
        """
        schema = self.schema()
        logical = LogicalHash(self.kind, schema)
        with GroupWriter(version / "lineage.parquet", self.lineage_schema()) as lineage:
            for folder, prefix, parts, tables in self._files(again):
                if folder == TEST:
                    logical.split(TEST)
                measured = [part.measured(held=folder == TEST) for part in parts]
                rows, size, memory = (sum(numbers) for numbers in zip(*measured, strict=True))
                with SortedRows(tables, KEY, memory, self.scratch, threads) as found:

                    def work(shard: Shard, found: SortedRows = found) -> tuple[bytes, Spill]:
                        return self._write_shard(shard, found, schema, logical)

                    for digests, beside in ordered_map(
                        work, shards(version / folder, prefix, rows, size), threads
                    ):
                        logical.add(digests)
                        for table in beside.read():
                            lineage.write(table)
                            written(table.num_rows)
                        beside.delete()
        return logical.hexdigest()

    def _write_shard(
        self, shard: Shard, found: SortedRows, schema: pa.Schema, logical: LogicalHash
    ) -> tuple[bytes, Spill]:
        """Writes a file of rows; returns their digests, and what goes to lineage, on disk."""
        digests, columns = [], self.lineage_schema().names
        beside = Spill(self.scratch / f"{shard.path.stem}.arrow")
        with beside, GroupWriter(shard.path, schema) as file:
            for table in found.rows(shard.start, shard.stop):
                file.write(table)
                beside.write(table.select(columns))
                digests.append(logical.digests(table))
        return b"".join(digests), beside

    def _files(
        self, again: Callable[[], Iterable[pa.Table]]
    ) -> Iterator[tuple[str, str, list[_Part], Iterator[pa.Table]]]:
        """The folder, the prefix, the parts and the rows of each run of files; one even without rows."""
        if not self._parts:
            yield "data", TRAIN, [_Part()], iter(())
        runs = groupby(self._rows(again(), held=False), key=lambda found: found[0])
        name, own = next(runs, (None, None))
        for part in self._parts:
            if part != name or own is None:  # none of its rows is taken
                yield "data", part, [self._parts[part]], iter(())
                continue
            yield "data", part, [self._parts[part]], (table for _, table in own)
            name, own = next(runs, (None, None))
        if self.test_rows:
            tables = (table for _, table in self._rows(again(), held=True))
            yield TEST, TEST, list(self._parts.values()), tables

    def _rows(self, tables: Iterable[pa.Table], *, held: bool) -> Iterator[tuple[str, pa.Table]]:
        """The rows that are held out or not, each as often as it is taken, and the part they are of."""
        pieces = {name: zip(part.pieces, part.copies, strict=True) for name, part in self._parts.items()}
        for table in tables:
            for source, own in _by_source(table):
                name = self._part(source)
                piece, copies = next(pieces[name])
                times = np.where(piece.held == held, copies, 0)
                rows = own.append_column(TOKENS, pa.array(piece.tokens, TOKENS.type))
                for copy in range(int(times.max(initial=0))):
                    some = rows if (times > copy).all() else rows.filter(pa.array(times > copy))
                    yield name, _renamed(some, copy, self.seed) if copy else some


def _renamed(rows: pa.Table, copy: int, seed: int) -> pa.Table:
    """A further copy of rows, under ids and keys of its own."""
    ids = pc.binary_join_element_wise(one_chunk(rows["id"]), f"+{copy}", "")
    names = rows.column_names
    rows = rows.set_column(names.index("id"), "id", ids)
    return rows.set_column(names.index(KEY), KEY, sort_keys(ids, seed))


def _prompts(rows: pa.Table, kind: Kind) -> pa.Array:
    """What is asked, without white space around it: a pair's `prompt`, the users' messages of others."""
    if kind == "preference":
        return pc.utf8_trim_whitespace(one_chunk(rows["prompt"]))
    column = one_chunk(rows["messages"])
    turns = column.flatten()
    asked = pc.fill_null(pc.equal(pc.struct_field(turns, "role"), "user"), fill_value=False)
    ends = np.cumsum(pc.fill_null(pc.list_value_length(column), 0).to_numpy(zero_copy_only=False))
    before = np.concatenate([[0], np.cumsum(asked.to_numpy(zero_copy_only=False))])
    offsets = pa.array(before[np.concatenate([[0], ends])], pa.int32())
    own = turns.filter(asked)
    texts = pc.utf8_trim_whitespace(pc.struct_field(own, "content"))
    trimmed = pa.StructArray.from_arrays([pc.struct_field(own, "role"), texts], fields=list(MESSAGE))
    return pa.ListArray.from_arrays(offsets, trimmed).cast(MESSAGES)


def _has_values(column: pa.ChunkedArray) -> bool:
    """Whether any row has one; an empty list is none: the evidence of an operator that found nothing."""
    if pa.types.is_list(column.type):
        return bool(pc.any(pc.greater(pc.list_value_length(column), 0)).as_py())
    return bool(column.null_count < len(column))


def _by_source(table: pa.Table) -> Iterator[tuple[str, pa.Table]]:
    names = pc.unique(table["source"]).to_pylist()
    for name in names:
        yield name, table if len(names) == 1 else table.filter(pc.equal(table["source"], name))
