"""Sorting more rows than fit in memory: cut into buckets by the key's leading bits, then each one sorted."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import pairwise
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tulu_data.engine.batches import ahead, ordered_map
from tulu_data.engine.spill import Spill

BUCKET_BYTES = 32 << 20
"""What one bucket may hold in memory when it is sorted. Blocks of this size are used again and again; larger
ones are fetched from the system and given back each time (measured: with 128 MiB, sorting took 1.6 times the
processor time)."""


class SortedRows:
    """Rows in ascending order of the uint64 column `key`, evenly spread over its range, then of `id`.

    They are cut into buckets on disk when this is made, and sorted as they are read: from any place, by
    several threads at once. The buckets are deleted at the end of the `with` block.

    Args:
        tables: the rows, in any order and any batches; the result depends on neither.
        key: a column of uniform 64-bit hashes (see `record.sort_keys`).
        nbytes: about how much all tables hold, for the number of buckets.
        scratch: a folder for the buckets.
        threads: that cut tables into buckets.
    """

    def __init__(
        self, tables: Iterable[pa.Table], key: str, nbytes: int, scratch: Path, threads: int = 1
    ) -> None:
        self._key = key
        bits = max(0, int(np.ceil(np.log2(max(nbytes, 1) / BUCKET_BYTES)))) if nbytes > BUCKET_BYTES else 0
        self._buckets = [Spill(scratch / f"bucket-{number:04}.arrow") for number in range(1 << bits)]
        try:
            for cut in ordered_map(lambda t: list(_split(t, key, bits)), ahead(tables, threads), threads):
                for number, rows in cut:
                    self._buckets[number].write(rows)
        except BaseException:
            self.delete()
            raise
        for bucket in self._buckets:
            bucket.close()

    @property
    def num_rows(self) -> int:
        """How many rows there are."""
        return sum(bucket.rows for bucket in self._buckets)

    def rows(self, start: int = 0, stop: int | None = None) -> Iterator[pa.Table]:
        """The rows from place `start` to before `stop`, a bucket at a time."""
        stop = self.num_rows if stop is None else stop
        first = 0
        for bucket in self._buckets:
            here = slice(max(start - first, 0), min(stop - first, bucket.rows))
            first += bucket.rows
            if here.start < here.stop:
                yield self._sorted(bucket).slice(here.start, here.stop - here.start)

    def _sorted(self, bucket: Spill) -> pa.Table:
        table = pa.concat_tables(list(bucket.read())).combine_chunks()
        return table.take(pc.sort_indices(table, sort_keys=[(self._key, "ascending"), ("id", "ascending")]))

    def delete(self) -> None:
        """Removes the buckets."""
        for bucket in self._buckets:
            bucket.delete()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.delete()


def _split(table: pa.Table, key: str, bits: int) -> Iterator[tuple[int, pa.Table]]:
    if not bits:
        yield 0, table
        return
    numbers = table[key].to_numpy() >> np.uint64(64 - bits)
    order = np.argsort(numbers, kind="stable")
    moved = table.take(pa.array(order))
    starts = np.searchsorted(numbers[order], np.arange((1 << bits) + 1, dtype=np.uint64))
    for number, (start, end) in enumerate(pairwise(starts)):
        if end > start:
            yield number, moved.slice(start, end - start)
