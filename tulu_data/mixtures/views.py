"""`connect`: the store as DuckDB views.

    versions               one row per version and preview: mixture, version, number, kind, rows, built,
                           latest, path
    "NAME"                 the rows of the latest version of mixture NAME
    "NAME_dropped"         its rejected rows, with their verdicts
    "NAME_lineage"         where its rows came from, by id
    "NAME_matches"         what decontamination found, where the recipe decontaminates
    "NAME@v3", "NAME@v3_dropped", …        the same of version 3
    "NAME@preview", "NAME@preview_dropped", …   the same of the last build with a limit

A mixture in a folder has its folder in the name: `"tulu2/sft"`. The views read the Parquet files where they
lie; nothing is copied.
"""

from __future__ import annotations

import glob
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from tulu_data.errors import StoreError
from tulu_data.mixtures.store import PREVIEWS, Version, mixtures, previews, read_manifest, versions

_VERSIONS = pa.schema(
    [
        ("mixture", pa.string()),
        ("version", pa.string()),
        ("number", pa.int64()),
        ("kind", pa.string()),
        ("rows", pa.int64()),
        ("built", pa.string()),
        ("latest", pa.bool_()),
        ("path", pa.string()),
    ]
)


@dataclass(frozen=True)
class _Folder:
    """A version or preview, and the names that its views begin with."""

    path: Path
    names: tuple[str, ...]
    manifest: dict[str, Any]
    number: int | None
    latest: bool


def connect(store: Path | str | None = None) -> duckdb.DuckDBPyConnection:
    """A DuckDB connection in memory, with a view for everything in the store.

    Args:
        store: the store; `store/` in the current folder unless given.

    Raises:
        StoreError: there is no store, or a version in it cannot be read.
    """
    store = Path(store or "store").resolve()
    if not store.is_dir():
        raise StoreError(
            "there is no store", where=str(store), remedy="`tulu-data build-mixture NAME` makes one"
        )
    connection = duckdb.connect(":memory:")
    folders = list(_folders(store))
    for folder in folders:
        for name in folder.names:
            _create_views(connection, name, folder.path)
    _create_versions(connection, folders)
    return connection


def _folders(store: Path) -> Iterator[_Folder]:
    for mixture in mixtures(store):
        known: list[Version] = versions(store, mixture)
        for version in known:
            latest = version is known[-1]
            names = (f"{mixture}@v{version.number}", *((mixture,) if latest else ()))
            yield _Folder(version.path, names, version.manifest(), version.number, latest)
    for mixture in previews(store):
        path = store / PREVIEWS / mixture
        yield _Folder(path, (f"{mixture}@preview",), read_manifest(path), None, latest=False)


def _create_views(connection: duckdb.DuckDBPyConnection, name: str, folder: Path) -> None:
    data = _parquet(sorted((folder / "data").glob("*.parquet")))
    rejected = sorted((folder / "dropped").glob("*.parquet"))
    nothing = f"(SELECT *, NULL::VARCHAR AS verdict, NULL::BIGINT AS step FROM {data} LIMIT 0)"  # noqa: S608
    dropped = _parquet(rejected) if rejected else nothing
    views = {
        name: data,
        f"{name}_dropped": dropped,
        f"{name}_lineage": _parquet([folder / "lineage.parquet"]),
    }
    if (folder / "matches.parquet").is_file():
        views[f"{name}_matches"] = _parquet([folder / "matches.parquet"])
    for view, rows in views.items():
        try:
            sql = f"CREATE OR REPLACE VIEW {_quoted(view)} AS SELECT * FROM {rows}"  # noqa: S608 - quoted
            connection.execute(sql).fetchall()
        except duckdb.Error as error:
            remedy = "Remove the folder and build again"
            said = str(error).splitlines()[0]
            raise StoreError(
                f"this version cannot be read: {said}", where=str(folder), remedy=remedy
            ) from error


def _create_versions(connection: duckdb.DuckDBPyConnection, folders: Sequence[_Folder]) -> None:
    rows = [
        {
            **{key: folder.manifest[key] for key in ("mixture", "version", "kind", "rows", "built")},
            "number": folder.number,
            "latest": folder.latest,
            "path": str(folder.path),
        }
        for folder in folders
    ]
    connection.register("_versions", pa.Table.from_pylist(rows, schema=_VERSIONS))
    connection.execute("CREATE TABLE versions AS SELECT * FROM _versions").fetchall()
    connection.unregister("_versions")


def _parquet(files: Sequence[Path]) -> str:
    """The files as a table function; what their paths hold of a pattern's signs stands for itself."""
    names = ", ".join("'" + glob.escape(str(file)).replace("'", "''") + "'" for file in files)
    return f"read_parquet([{names}], union_by_name=true)"


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
