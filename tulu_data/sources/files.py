"""Sources that are files: found by path or glob, checked before they are read, locked by their hashes."""

from __future__ import annotations

import glob
import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tulu_data.errors import SourceError, Where, nearest
from tulu_data.sources.batch import Batch, OnBad, stop
from tulu_data.sources.naming import check_name, first_bytes
from tulu_data.sources.source import BATCH_BYTES, FileLock, Source, SourceLock, SourceSpec
from tulu_data.sources.streams import COMPRESSIONS, DataFile, readable
from tulu_data.sources.tables import Reading

FORMATS = (".parquet", ".jsonl", ".ndjson", ".json", ".csv", ".tsv")
"""The extensions that tell a format; each may be followed by one of `COMPRESSIONS`."""


@dataclass
class FileSource(Source):
    """Files that are read one behind the other."""

    spec: SourceSpec
    origin: str
    files: tuple[DataFile, ...]
    config: str | None = None
    split: str | None = None
    _lock: SourceLock | None = field(default=None, init=False, repr=False)

    def __post_init__(self) -> None:
        self.nbytes = sum(file.path.stat().st_size for file in self.files)

    def lock(self) -> SourceLock:
        """The SHA-256 of every file."""
        if self._lock is None:
            files = tuple(_file_lock(file) for file in self.files)
            self._lock = SourceLock(
                origin=self.origin,
                revision=self._revision(files),
                config=self.config or self.spec.config,
                split=self.split or self.spec.split,
                files=files,
            )
        return self._lock

    def reads(self) -> dict[str, str]:
        """The files, wherever links lead; of `.json` files also the key of the rows."""
        under = f"#{self.spec.records}" if self.spec.records else ""
        return {f"{file.path.resolve()}{under}": file.shown for file in self.files}

    def _revision(self, files: Sequence[FileLock]) -> str | None:  # noqa: ARG002 - a mirror's revision needs them
        return None

    def batches(self, *, on_bad: OnBad = stop, batch_bytes: int = BATCH_BYTES) -> Iterator[Batch]:
        """The rows of every file in turn."""
        reading = Reading(on_bad, batch_bytes)
        for file in self.files:
            yield from _read(file, reading, self.spec)
            reading.done += file.path.stat().st_size


def open_files(spec: SourceSpec, base: Path) -> FileSource:
    """The file, or the files of the glob, that `spec.from_` names.

    Raises:
        SourceError: there is none, it is a folder, it may not be read, its format is not known, or its first
            bytes are not what its name says.
    """
    written = spec.from_
    path = base / Path(written).expanduser()
    with readable(DataFile(path, written)):
        is_folder = path.is_dir()
    if is_folder:
        raise _is_folder(written, path)
    is_name = _is_file(path, written) or not glob.has_magic(written)
    names = [written] if is_name else _matches(written, base)
    return open_paths(spec, [base / Path(name).expanduser() for name in names], names)


def open_paths(spec: SourceSpec, paths: Sequence[Path], shown: Sequence[str] | None = None) -> FileSource:
    """Files whose paths are known, shown by the names they were written with."""
    names = [Path(name).as_posix() for name in shown or map(str, paths)]
    files = tuple(DataFile(path, name) for path, name in zip(paths, names, strict=True))
    for file in files:
        check(file, spec)
    return FileSource(spec, spec.from_, files)


def files_below(
    folder: Path, pattern: str, names: Sequence[str], dataset: str, shown: str
) -> tuple[DataFile, ...]:
    """The files of a dataset's folder that a glob matches, in the order of their names.

    Args:
        folder: where the dataset lies.
        pattern: the glob.
        names: the files that the dataset has.
        dataset: begins the name by which each file is shown and locked.
        shown: how an error names the dataset.

    Raises:
        SourceError: the glob leads out of the folder, or matches nothing.
    """
    if pattern.startswith("/") or ".." in pattern.split("/"):
        raise SourceError(f"`files: {pattern}` leads out of the dataset", where=shown)
    known = {folder / name for name in names}
    found = sorted(path for path in folder.glob(pattern) if path in known)
    if not found:
        raise SourceError(
            f"{shown} has no file {pattern!r}",
            expected="a glob of its files",
            nearest=nearest(pattern, names),
        )
    return tuple(DataFile(path, f"{dataset}/{path.relative_to(folder).as_posix()}") for path in found)


def check(file: DataFile, spec: SourceSpec) -> None:
    """Refuse a file that is missing, unreadable, misnamed or of no known format, and keys that misfit."""
    where = Where(file.shown)
    if not _is_file(file.path, file.shown):
        raise _missing(file)
    if file.format not in FORMATS:
        known = f"{', '.join(FORMATS)}, each plain or with {' or '.join(COMPRESSIONS)}"
        what = (
            f"the extension {file.format!r} tells no known format"
            if file.format
            else "the name has no extension"
        )
        raise SourceError(what, where=where, expected=known, nearest=nearest(file.format, FORMATS))
    if spec.columns is not None and file.format not in (".csv", ".tsv"):
        raise SourceError(f"`columns:` is for csv and tsv files, not for {file.format}", where=where)
    if spec.records is not None and file.format != ".json":
        raise SourceError(f"`records:` is for .json files, not for {file.format}", where=where)
    with readable(file):
        head = first_bytes(file.path)
    check_name(file, head)


def _read(file: DataFile, reading: Reading, spec: SourceSpec) -> Iterator[Batch]:
    # Each format is imported where it is read, so that naming a source stays cheap.
    if file.format == ".parquet":
        from tulu_data.sources.parquet import read_parquet

        return read_parquet(file, reading)
    if file.format == ".json":
        from tulu_data.sources.documents import read_json

        return read_json(file, reading, spec.records)
    if file.format in (".csv", ".tsv"):
        from tulu_data.sources.delimited import read_delimited

        return read_delimited(file, reading, "," if file.format == ".csv" else "\t", spec.columns)
    from tulu_data.sources.jsonl import read_jsonl

    return read_jsonl(file, reading)


def _file_lock(file: DataFile) -> FileLock:
    with readable(file), file.path.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256")
        return FileLock(path=file.shown, bytes=stream.tell(), sha256=digest.hexdigest())


# -- finding ------------------------------------------------------------------------------------------


def _is_file(path: Path, shown: str) -> bool:
    """Whether a file is there; a folder on the way that may not be entered is an error of its own."""
    with readable(DataFile(path, shown)):
        return path.is_file()


def _matches(pattern: str, base: Path) -> list[str]:
    """The files of a glob, in the order of their names."""
    expanded = Path(pattern).expanduser().as_posix()
    names = sorted(
        name
        for name in glob.glob(expanded, root_dir=base, recursive=True)  # noqa: PTH207 - Path takes no absolute glob
        if (base / name).is_file()
    )
    if names:
        return names
    fixed = Path(*_before_magic(Path(expanded)))
    if not (base / fixed).is_dir():
        raise SourceError(
            f"the glob matches no file: the folder {fixed} does not exist", where=Where(pattern)
        )
    there = _listing(base / fixed)
    raise SourceError(
        "the glob matches no file",
        where=Where(pattern),
        expected=f"a pattern for what {fixed} holds: {there}",
    )


def _before_magic(path: Path) -> list[str]:
    parts: list[str] = []
    for part in path.parts:
        if glob.has_magic(part):
            break
        parts.append(part)
    return parts


def _missing(file: DataFile) -> SourceError:
    where = Where(file.shown)
    folder = file.path.parent
    if file.path.exists():
        return SourceError("this is no file but a device, a pipe or a socket", where=where, expected="a file")
    if file.path.is_symlink():
        target = file.path.readlink().as_posix()
        return SourceError(f"this is a link to {target}, which leads to no file", where=where)
    if not folder.is_dir():
        return SourceError(
            f"the file does not exist, nor does its folder {Path(file.shown).parent}", where=where
        )
    with readable(DataFile(folder, Path(file.shown).parent.as_posix())):
        names = [path.name for path in _visible(folder)]
    near = nearest(file.path.name, names)
    shown = (Path(file.shown).parent / near).as_posix() if near else None
    return SourceError("the file does not exist", where=where, nearest=shown)


def _is_folder(written: str, path: Path) -> SourceError:
    with readable(DataFile(path, written)):
        files = [DataFile(found, found.name) for found in _visible(path) if found.is_file()]
    endings = [
        file.path.name[file.path.name.lower().find(file.format) :] for file in files if file.format in FORMATS
    ]
    pattern = (Path(written) / f"*{max(endings, key=endings.count)}").as_posix() if endings else None
    return SourceError("this is a folder", where=Where(written), expected="a file or a glob", nearest=pattern)


def _visible(folder: Path) -> list[Path]:
    """What a folder holds, by name; neither a glob nor a reader means its hidden and temporary files."""
    return sorted(path for path in folder.iterdir() if not path.name.startswith("."))


def _listing(folder: Path) -> str:
    names = [path.name for path in _visible(folder)]
    return (
        ", ".join(names[:8]) + (f", … ({len(names)} in all)" if len(names) > 8 else "")
        if names
        else "nothing"
    )
