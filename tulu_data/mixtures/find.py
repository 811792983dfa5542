"""Finished versions by the names that people give them, and single rows of their files.

    sft_mini             the latest version of a mixture; `sft_mini@latest` says the same
    sft_mini@v2          its second version; `sft_mini@v2-5f26e7a1` is the whole name
    sft_mini@preview     the last build with a limit
    a/folder             the folder of a version or preview, wherever it lies

Rows are looked up by their ids without reading any text: one scan of the `id` column, then the one row group
that holds the row.
"""

from __future__ import annotations

import glob
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from tulu_data.errors import StoreError, unknown
from tulu_data.mixtures.store import (
    MANIFEST,
    PREVIEWS,
    VERSION_NAME,
    Version,
    mixtures,
    previews,
    read_manifest,
    versions,
)

PREVIEW = "preview"
LATEST = "latest"

TRAIN, TEST = "data", "test"
"""The folders of a version that hold its rows: those to train on, and those held out."""

NEEDED: Mapping[str, type] = {
    **dict.fromkeys(("mixture", "version", "kind", "logical_hash"), str),
    **dict.fromkeys(("seed", "rows"), int),
    **dict.fromkeys(("sources", "steps"), list),
    **dict.fromkeys(("recipe", "files"), dict),
}
"""What every manifest tells; one in which a part is missing, or of another type, is damaged."""

INSIDE: Mapping[str, tuple[str, ...]] = {
    "sources": ("name", "from", "license", "adapter", "lock", "rows", "share_of_rows", "share_of_tokens"),
    "steps": ("step", "op", "version", "settings", "fingerprint", "rows_in", "rows_out", "dropped", "writes"),
    "files": ("rows", "bytes", "sha256"),
}
"""… and what each entry of these parts tells."""

AMOUNTS = ("size", "max_per_source", "holdout", "tokenizer")
"""The keys of a manifest's recipe that say how much of it there shall be, where they are given."""


def find_version(named: str | Path, store: Path) -> Version:
    """The version or preview that `named` stands for: a name, `NAME@vK`, `NAME@preview`, or a folder.

    Raises:
        StoreError: there is no store.
        UsageError: nothing has that name; says the nearest that exists.
    """
    if (Path(named) / MANIFEST).is_file():
        return _folder(Path(named).resolve())
    mixture, _, wanted = str(named).partition("@")
    if wanted == PREVIEW:
        if mixture not in previews(existing(store)):
            raise unknown(PREVIEW, mixture, previews(store))
        return Version(mixture, 0, store / PREVIEWS / mixture)
    known = versions(existing(store), mixture)
    if not known:
        raise unknown("version of the store", mixture, mixtures(store))
    for version in known:
        if wanted in {version.name, f"v{version.number}"}:
            return version
    if wanted in {"", LATEST}:
        return known[-1]
    raise unknown(f"version of {mixture}", wanted, [f"v{v.number}" for v in known])


def existing(store: Path) -> Path:
    """The store, if there is one.

    Raises:
        StoreError: there is none.
    """
    if not store.is_dir():
        remedy = "`tulu-data build-mixture NAME` makes one"
        raise StoreError("there is no store", where=str(store), remedy=remedy)
    return store


def _folder(path: Path) -> Version:
    match = VERSION_NAME.fullmatch(path.name)
    return Version(str(manifest_of(path)["mixture"]), int(match[1]) if match else 0, path)


def all_versions(store: Path) -> Iterator[Version]:
    """Every version of every mixture, and every preview."""
    for mixture in mixtures(existing(store)):
        yield from versions(store, mixture)
    for mixture in previews(store):
        yield Version(mixture, 0, store / PREVIEWS / mixture)


def label(version: Version) -> str:
    """`sft_mini@v2`: what a command takes and a person reads."""
    number = f"v{version.number}" if VERSION_NAME.fullmatch(version.name) else PREVIEW
    return f"{version.mixture}@{number}"


def manifest_of(path: Path) -> dict[str, Any]:
    """The manifest of a version, with all that the verbs on versions read.

    Raises:
        StoreError: it is missing, not JSON, or lacks a part.
    """
    told = read_manifest(path)
    if lacks := next(_lacking(told), None):
        what, where = f"the manifest is damaged: {lacks} is not as it was written", str(path / MANIFEST)
        raise StoreError(what, where=where, remedy="Remove the folder and build again")
    return told


def _lacking(told: Mapping[str, Any]) -> Iterator[str]:
    """The parts of a manifest that are missing or of another type."""
    yield from (key for key, shape in NEEDED.items() if not isinstance(told.get(key), shape))
    for part, keys in INSIDE.items():
        entries = told[part].items() if isinstance(told[part], dict) else enumerate(told[part])
        for name, entry in entries:
            known = entry if isinstance(entry, dict) else {}
            yield from (f"{part}.{name}.{key}" for key in keys if key not in known)


# -- files ---------------------------------------------------------------------------------------------------


def data_files(version: Path) -> list[Path]:
    """Its rows: those to train on, then those held out."""
    return [file for folder in (TRAIN, TEST) for file in sorted((version / folder).glob("*.parquet"))]


def dropped_files(version: Path) -> list[Path]:
    """The rows that its steps rejected, a file per operator."""
    return sorted((version / "dropped").glob("*.parquet"))


def lineage_file(version: Path) -> Path:
    """Where its rows came from.

    Raises:
        StoreError: it is missing.
    """
    path = version / "lineage.parquet"
    if not path.is_file():
        remedy = f"Remove {version} and build again"
        raise StoreError("a file of this version is missing", where=str(path), remedy=remedy)
    return path


def size_of(folder: Path) -> int:
    """The bytes of the files in a folder."""
    return sum(path.lstat().st_size for path in folder.rglob("*") if path.is_symlink() or path.is_file())


def parquet(files: Sequence[Path], *, places: bool = False) -> str:
    """The files as a table of SQL; what their paths hold of a pattern's signs stands for itself.

    Args:
        files: at least one.
        places: whether each row tells where it lies, in the columns `filename` and `file_row_number`.
    """
    names = ", ".join("'" + glob.escape(str(file)).replace("'", "''") + "'" for file in files)
    options = ", filename=true, file_row_number=true" if places else ""
    return f"read_parquet([{names}], union_by_name=true{options})"


@contextmanager
def readable(where: Path | None = None) -> Iterator[None]:
    """Files of a version that cannot be read, told as one message."""
    try:
        yield
    except (duckdb.IOException, duckdb.InvalidInputException, duckdb.BinderException) as error:
        raise _unreadable(error, where) from error
    except (OSError, pa.ArrowException) as error:
        raise _unreadable(error, where) from error


def _unreadable(error: Exception, where: Path | None) -> StoreError:
    what = f"a file of a version cannot be read: {str(error).splitlines()[0]}"
    remedy = "`tulu-data verify` says which files are not as they were written"
    return StoreError(what, where=str(where or ""), remedy=remedy)


def query(
    connection: duckdb.DuckDBPyConnection, sql: str, values: Sequence[Any] | None = None
) -> list[tuple[Any, ...]]:
    """The rows that `sql` gives.

    Raises:
        StoreError: a file of a version cannot be read.
    """
    with readable():
        return connection.execute(sql, values).fetchall()


# -- rows ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Place:
    """Where a row lies."""

    file: Path
    row: int
    """Which row of the file, from 0."""


def places(
    files: Sequence[Path], ids: Iterable[str], connection: duckdb.DuckDBPyConnection
) -> dict[str, Place]:
    """Where the rows with these ids lie; ids that no file holds are left out."""
    wanted = list(ids)
    if not files or not wanted:
        return {}
    sql = f"SELECT id, filename, file_row_number FROM {parquet(files, places=True)} WHERE id IN (SELECT unnest(?))"  # noqa: S608, E501
    return {id_: Place(Path(file), row) for id_, file, row in query(connection, sql, [wanted])}


def read_row(place: Place) -> dict[str, Any]:
    """The whole row at a place; reads the one row group that it lies in.

    Raises:
        StoreError: the file cannot be read.
    """
    with readable(place.file), pq.ParquetFile(place.file) as file:
        group, row = _group(file.metadata, place.row)
        found: list[dict[str, Any]] = file.read_row_group(group).slice(row, 1).to_pylist()
    return found[0]


def _group(metadata: pq.FileMetaData, row: int) -> tuple[int, int]:
    """The row group that a row lies in, and which of its rows it is."""
    for group in range(metadata.num_row_groups):
        rows = metadata.row_group(group).num_rows
        if row < rows:
            return group, row
        row -= rows
    raise IndexError(row)
