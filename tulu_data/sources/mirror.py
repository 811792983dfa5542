"""A folder laid out `<org>/<name>/…` that stands in for the Hub.

`datasets` says which files belong to a config and split, as it would on the Hub: by the card's `configs:`, or
by the names of files and folders. They are then read as files. A config may also be a sub-folder of its name.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from threading import Lock
from typing import Any

from tulu_data.errors import SourceError
from tulu_data.sources.files import FileSource, check, files_below
from tulu_data.sources.hub import ALL, check_name, splits
from tulu_data.sources.source import FileLock, SourceSpec
from tulu_data.sources.streams import DataFile

REVISION = "mirror-sha256:"
"""Begins the revision of a mirrored dataset: no commit, but the hash of its files' names and contents."""


SAMPLE = "sample.json"
"""Lies in a dataset's folder whose rows are made up."""


_ONE_AT_A_TIME = Lock()
"""Two threads that list files at once take the lock of each other's progress bars, and `datasets` fails."""


class MirrorSource(FileSource):
    """The files of a mirrored dataset."""

    def _revision(self, files: Sequence[FileLock]) -> str:
        listing = "".join(f"{file.sha256} {file.path}\n" for file in files)
        return REVISION + hashlib.sha256(listing.encode()).hexdigest()


def open_mirrored(spec: SourceSpec, dataset: str, mirror: Path) -> MirrorSource:
    """The files of `dataset` in the mirror.

    A mirror holds one revision, so `spec.revision` chooses nothing; the lock says what was read.

    Raises:
        SourceError: the folder has no such config or split, or no data that can be read.
    """
    folder = mirror / dataset
    split = spec.split or "train"
    files: list[DataFile] = []
    used: list[str] = []
    if spec.files is not None:
        there = (p for p in folder.rglob("*") if p.is_file() and p.name != SAMPLE)
        names = sorted(path.relative_to(folder).as_posix() for path in there)
        files += files_below(folder, spec.files, names, dataset, f"{spec.from_}, in the mirror,")
        used.append("default")
    for builder in _builders(folder, spec) if spec.files is None else ():
        of = f"{spec.from_}, config {builder.config.name}, in the mirror {mirror}"
        check_name("split", split, splits(builder), of)
        used.append(builder.config.name)
        for name in builder.config.data_files[split]:
            path = Path(name)
            files.append(DataFile(path, f"{dataset}/{path.relative_to(folder.resolve()).as_posix()}"))
    for file in files:
        check(file, spec)
    source = MirrorSource(spec, spec.from_, tuple(files), config=spec.config or used[0], split=split)
    source.synthetic = (folder / SAMPLE).is_file()
    return source


def _builders(folder: Path, spec: SourceSpec) -> list[Any]:
    """What `datasets` makes of the folder, for each config that is asked for."""
    known = _configs(folder)
    if spec.config == ALL:
        return [_builder(folder, config) for config in known]
    if spec.config is None or spec.config in known:
        if spec.config is None and len(known) > 1 and "default" not in known:
            raise SourceError(
                f"{spec.from_} has several configs", expected=f"`config:` with one of: {', '.join(known)}"
            )
        return [_builder(folder, spec.config)]
    below = sorted(path.name for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
    if spec.config not in below:
        check_name("config", spec.config, sorted({*known, *below}), f"{spec.from_}, in the mirror,")
    return [_builder(folder / spec.config, None)]


def _configs(folder: Path) -> list[str]:
    from datasets import get_dataset_config_names

    with _explained(folder):
        return sorted(get_dataset_config_names(str(folder)))


def _builder(folder: Path, config: str | None) -> Any:
    from datasets import load_dataset_builder

    # Only the list of files is wanted; the cache that a builder insists on goes with the folder.
    with _explained(folder), tempfile.TemporaryDirectory() as cache:
        return load_dataset_builder(str(folder), name=config, cache_dir=cache)


@contextmanager
def _explained(folder: Path) -> Iterator[None]:
    try:
        with _ONE_AT_A_TIME:
            yield
    except Exception as error:
        detail = str(error).strip().split("\n", 1)[0]
        raise SourceError(
            f"the mirror folder {folder} holds no data that `datasets` can find ({detail})",
            expected="data files, and a README.md whose `configs:` name them where there are several",
        ) from error
