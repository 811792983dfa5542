"""Rows set down on disk between two passes."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Self

import pyarrow as pa

from tulu_data.errors import StoreError

_OPTIONS = pa.ipc.IpcWriteOptions()
"""Uncompressed: lz4 made a round trip three times slower (378 MB: 1.2 s against 0.4 s), to save disk that is
soon free again."""


@contextmanager
def disk_errors(path: Path) -> Iterator[None]:
    """A full or read-only disk, told as one message."""
    try:
        yield
    except OSError as error:
        if error.errno in {errno.ENOSPC, errno.EDQUOT}:
            raise StoreError(
                "the disk is full", where=str(path), remedy="Free some space and run the command again"
            ) from error
        if error.errno in {errno.EACCES, errno.EPERM, errno.EROFS}:
            raise StoreError("no permission to write", where=str(path)) from error
        raise


class Spill:
    """An Arrow IPC file that is written once, then read as often as needed, batch by batch."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.rows = 0
        self.nbytes = 0
        self._file: pa.OSFile | None = None
        self._writer: pa.RecordBatchFileWriter | None = None
        self._schema: pa.Schema | None = None

    def write(self, table: pa.Table) -> None:
        """Appends rows; every table has the schema of the first."""
        with disk_errors(self.path):
            if self._writer is None:
                self._schema = table.schema
                self._file = pa.OSFile(str(self.path), "wb")
                self._writer = pa.ipc.new_file(self._file, table.schema, options=_OPTIONS)
            self._writer.write_table(table)
        self.rows += table.num_rows
        self.nbytes += table.nbytes

    def close(self) -> None:
        """Ends the writing."""
        writer, file, self._writer, self._file = self._writer, self._file, None, None
        if writer is None or file is None:
            return
        with disk_errors(self.path):
            try:
                writer.close()
            finally:  # an open file would keep its disk in use
                file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def read(self) -> Iterator[pa.Table]:
        """The rows as they were written."""
        if self._schema is None:
            return
        with pa.OSFile(str(self.path), "rb") as file:
            reader = pa.ipc.open_file(file)
            for index in range(reader.num_record_batches):
                yield pa.Table.from_batches([reader.get_batch(index)])

    def delete(self) -> None:
        """Removes the file, whether it was ended or not."""
        with suppress(OSError, StoreError):
            self.close()
        self.path.unlink(missing_ok=True)
