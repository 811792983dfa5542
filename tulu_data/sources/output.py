"""What a command writes: Parquet with every native column, in a folder that appears whole or never."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from collections.abc import Set as AbstractSet
from contextlib import contextmanager, suppress
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from tulu_data.engine.spill import disk_errors
from tulu_data.errors import StoreError
from tulu_data.sources.json_text import fitted, restored, unified


@contextmanager
def new_folder(out: Path, written: AbstractSet[str], *, force: bool) -> Iterator[Path]:
    """A folder beside `out` to write into; it takes the place of `out` at the end, or goes if anything fails.

    Args:
        out: the folder that the result becomes.
        written: what a result of the command holds; `force` replaces no folder that holds anything else.
        force: whether an earlier result is replaced.

    Raises:
        StoreError: `out` exists and `force` is not given, or holds what is no result, or is a file, or its
            parent cannot be written.
    """
    with disk_errors(out):
        target = out.resolve()
        _mend(target)
        _check(target, out, written, force=force)
        aside, old = (target.with_name(f".{target.name}.{os.getpid()}.{end}") for end in ("tmp", "old"))
        made = [folder for folder in target.parents if not folder.exists()]
        try:
            aside.mkdir(parents=True)
            yield aside
            _check(target, out, written, force=force)  # another run may have been quicker
            if target.exists():
                target.rename(old)
            aside.rename(target)
            shutil.rmtree(old, ignore_errors=True)
        finally:
            shutil.rmtree(aside, ignore_errors=True)
            if old.exists() and not target.exists():
                old.rename(target)
            with suppress(OSError):  # ends at the first folder that holds something
                for folder in made:
                    folder.rmdir()


def _mend(target: Path) -> None:
    """Clears away what killed runs left beside the target, and puts back a result that they had moved."""
    for left in target.parent.glob(f".{target.name}.*") if target.parent.is_dir() else ():
        owner, _, end = left.name.removeprefix(f".{target.name}.").partition(".")
        if end not in {"tmp", "old"} or not owner.isdigit() or _alive(int(owner)):
            continue
        if end == "old" and not target.exists():
            left.rename(target)
        else:
            shutil.rmtree(left, ignore_errors=True)


def _alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _check(target: Path, shown: Path, written: AbstractSet[str], *, force: bool) -> None:
    if not target.exists():
        return
    if not target.is_dir():
        raise StoreError("is a file, not a folder", where=str(shown))
    if not force:
        raise StoreError(
            "exists already", where=str(shown), remedy="--force replaces it, --out names another folder"
        )
    other = sorted({path.name for path in target.iterdir()} - written)
    if other:
        raise StoreError(
            f"holds {other[0]!r}, so it is no result of this command and is not replaced", where=str(shown),
            expected="a new folder, or one that was written here before",
        )  # fmt: skip


class NativeWriter:
    """A Parquet file of native rows whose columns may grow: a later batch of a JSON file can know more.

    Rows are written as they come; where the columns changed on the way, the parts are written again as one
    file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.rows = 0
        self._parts: list[Path] = []
        self._schema: pa.Schema | None = None
        self._writer: pq.ParquetWriter | None = None

    def write(self, table: pa.Table) -> None:
        """Appends rows."""
        table = restored(table)
        if self._writer is None or not table.schema.equals(self._schema, check_metadata=True):
            self._finish_part()
            self._parts.append(self.path.with_name(f".{self.path.name}.{len(self._parts)}"))
            self._schema = table.schema
            self._writer = pq.ParquetWriter(
                self._parts[-1], table.schema, compression="zstd", compression_level=1
            )
        self._writer.write_table(table)
        self.rows += table.num_rows

    def _finish_part(self) -> None:
        if self._writer is not None:
            self._writer.close()
            self._writer = None

    def close(self) -> None:
        """Ends the file; nothing is left where no row came."""
        self._finish_part()
        if len(self._parts) == 1:
            self._parts[0].rename(self.path)
        elif self._parts:
            self._join()

    def _join(self) -> None:
        files = [pq.ParquetFile(part) for part in self._parts]
        schema = unified([file.schema_arrow for file in files])
        with pq.ParquetWriter(self.path, schema, compression="zstd", compression_level=1) as writer:
            for file in files:
                for batch in file.iter_batches():
                    writer.write_table(fitted(pa.Table.from_batches([batch]), schema))
        for part, file in zip(self._parts, files, strict=True):
            file.close()
            part.unlink()
