"""The one writer rule: the same rows in the same order give the same bytes, however they arrive.

A Parquet file's bytes depend on the chunks that its writer was handed. So rows are rebatched here to a fixed
number per row group, each group is one chunk and one write, the number of shards follows from totals that are
known before, and every setting of the writer is pinned. (The bytes still carry pyarrow's version; a manifest
names it.)
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from tulu_data.engine.spill import disk_errors
from tulu_data.record import MESSAGES, Kind, row_hashes
from tulu_data.turns import one_chunk

ROWS_PER_GROUP = 4096
"""About 8 MB of conversations of the Tülu 3 mixture's mean length: enough for compression, little to hold."""

GROUP_BYTES = 64 << 20
"""Text per group at most: long documents would otherwise fill the memory, and Arrow's 31-bit offsets."""

SHARD_BYTES = 256 << 20
"""Text per shard; a third of it once compressed: few files, and each is fetched in one go."""

LOGICAL_HASH = "tulu-data logical rows 1"
"""What the logical hash covers and how; another number where that changes."""


class _Sink:
    """A file that takes every write, and tells afterwards what went wrong.

    Where a write of Arrow's own file fails while content-defined chunks are cut, Arrow 26 ends the process.
    """

    def __init__(self, path: Path) -> None:
        self._file = path.open("wb")
        self._error: OSError | None = None
        self.closed = False

    def write(self, data: bytes) -> int:
        """Writes, unless an earlier write failed."""
        if self._error is None and not self.closed:
            try:
                self._file.write(data)
            except OSError as error:
                self._error = error
        return len(data)

    def flush(self) -> None:
        """Writes what is held back, unless an earlier write failed."""
        self.write(b"")

    def close(self) -> None:
        """Closes the file."""
        self.closed = True
        try:
            self._file.close()
        except OSError as error:
            self._error = self._error or error

    def check(self) -> None:
        """Raises what went wrong."""
        if self._error is not None:
            raise self._error


class GroupWriter:
    """A Parquet file whose row groups depend on the rows alone.

    A group ends where it has `ROWS_PER_GROUP` rows, or where the next row would bring it above `GROUP_BYTES`.
    """

    def __init__(self, path: Path, schema: pa.Schema) -> None:
        self.path = path
        self.rows = 0
        self._schema = schema.remove_metadata()
        self._held: list[pa.Table] = []
        self._waiting = 0
        self._bytes = 0
        path.parent.mkdir(parents=True, exist_ok=True)
        with disk_errors(path):
            self._sink = _Sink(path)
            self._writer = pq.ParquetWriter(
                self._sink,
                self._schema,
                version="2.6",
                compression="zstd",
                compression_level=3,
                use_dictionary=True,
                data_page_size=1 << 20,
                dictionary_pagesize_limit=1 << 20,
                data_page_version="1.0",
                write_statistics=True,
                write_page_index=False,
                store_schema=True,
                use_content_defined_chunking=True,  # a small change of the rows changes few pages
            )

    def write(self, table: pa.Table) -> None:
        """Appends rows; columns beyond the schema are left out."""
        table = table.select(self._schema.names)
        sizes = text_bytes(table, self._schema.names)
        self.rows += table.num_rows
        start = 0
        while start < table.num_rows:
            room = sizes[start : start + ROWS_PER_GROUP - self._waiting]
            fits = int(np.searchsorted(np.cumsum(room) + self._bytes, GROUP_BYTES, side="right"))
            fits = max(fits, 0 if self._waiting else 1)  # a row above the limit is a group of its own
            self._held.append(table.slice(start, fits))
            self._waiting += fits
            self._bytes += int(room[:fits].sum())
            start += fits
            if self._waiting == ROWS_PER_GROUP or fits < len(room):
                self._end_group()

    def close(self) -> None:
        """Writes what is left and ends the file."""
        try:
            if self._waiting:
                self._end_group()
        finally:  # an open file would keep its disk in use
            with disk_errors(self.path):
                self._writer.close()
                self._sink.close()
        with disk_errors(self.path):
            self._sink.check()

    def _end_group(self) -> None:
        rows = pa.concat_tables(self._held).combine_chunks().cast(self._schema)
        self._held, self._waiting, self._bytes = [], 0, 0
        with disk_errors(self.path):
            self._writer.write_table(rows, row_group_size=ROWS_PER_GROUP)
            self._sink.check()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self.close()
        else:  # the file is thrown away; what closing it says would only hide why
            with suppress(OSError):
                self._writer.close()
            self._sink.close()


def shard_sizes(rows: int, text_bytes: int) -> list[int]:
    """How many rows each shard has: as many shards as `SHARD_BYTES` asks for, the rows split evenly.

    >>> shard_sizes(10, 3 * SHARD_BYTES)
    [3, 3, 4]
    """
    shards = max(1, min(rows, -(-text_bytes // SHARD_BYTES)))
    ends = [rows * (i + 1) // shards for i in range(shards)]
    return [end - start for start, end in zip([0, *ends], ends, strict=False)]


@dataclass(frozen=True)
class Shard:
    """One of several files that rows are split over: its path, and the places of its rows among all."""

    path: Path
    start: int
    stop: int


def shards(folder: Path, prefix: str, rows: int, text_bytes: int) -> list[Shard]:
    """Files `<prefix>-00000-of-00004.parquet` and so on."""
    sizes = shard_sizes(rows, text_bytes)
    ends = list(accumulate(sizes))
    return [
        Shard(folder / f"{prefix}-{number:05}-of-{len(sizes):05}.parquet", end - size, end)
        for number, (size, end) in enumerate(zip(sizes, ends, strict=True))
    ]


class LogicalHash:
    """SHA-256 over rows in their order, as values: whatever the files, shards, compression and libraries."""

    def __init__(self, kind: Kind, schema: pa.Schema) -> None:
        self._columns = schema.names
        self._hash = hashlib.sha256(f"{LOGICAL_HASH}\n{kind}\n{chr(10).join(schema.names)}\n".encode())

    def update(self, table: pa.Table) -> None:
        """Takes further rows."""
        self.add(self.digests(table))

    def add(self, digests: bytes) -> None:
        """Takes further rows by their digests."""
        self._hash.update(digests)

    def digests(self, table: pa.Table) -> bytes:
        """The hash of each row by itself, one behind the other; for several threads at once."""
        texts = table.select(self._columns)
        for index, column in enumerate(texts.schema):
            if pa.types.is_floating(column.type):
                texts = texts.set_column(index, column.name, _as_text(texts[column.name]))
        return bytes(row_hashes(texts, self._columns).buffers()[1])

    def split(self, name: str) -> None:
        """Tells that the rows from here on are another split."""
        self._hash.update(f"\nsplit {name}\n".encode())

    def hexdigest(self) -> str:
        """The hash of all rows so far."""
        return self._hash.hexdigest()


def _as_text(numbers: pa.ChunkedArray) -> pa.Array:
    """Python's shortest exact text of each number: Arrow's own cast promises no fixed form."""
    return pa.array([None if n is None else repr(n) for n in numbers.to_pylist()], pa.string())


def text_bytes(table: pa.Table, columns: Sequence[str]) -> npt.NDArray[np.int64]:
    """Bytes of UTF-8 text in some columns of each row: of texts, and of the contents of messages."""
    total = np.zeros(table.num_rows, np.int64)
    for name in columns:
        column = one_chunk(table[name])  # `combine_chunks` copies even a single one
        if column.type == MESSAGES:
            lengths = pc.binary_length(pc.struct_field(column.flatten(), "content"))
            sums = np.concatenate([[0], np.cumsum(pc.fill_null(lengths, 0).to_numpy(zero_copy_only=False))])
            counts = pc.fill_null(pc.list_value_length(column), 0).to_numpy(zero_copy_only=False)
            ends = np.cumsum(counts)
            total += sums[ends] - sums[ends - counts]
        elif pa.types.is_string(column.type):
            total += pc.fill_null(pc.binary_length(column), 0).to_numpy(zero_copy_only=False)
    return total
