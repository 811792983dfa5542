"""A source: where rows come from, opened and locked, before an adapter gives them their shape.

path or glob            parquet, jsonl, json, csv or tsv; plain, .gz or .zst       files.py
hf:ORG/NAME             the Hugging Face Hub, or the mirror folder in its place    hub.py, mirror.py
    with `files:`       some of its files, read as files                           hub_files.py, mirror.py
mirror:ORG/NAME         the mirror folder alone: data that is not on the Hub       mirror.py
store:KIND/NAME@vK      a version of the store, found by the caller's resolver
"""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from tulu_data.errors import SourceError
from tulu_data.sources.batch import Batch, OnBad, stop

BATCH_BYTES = 16 << 20
"""About how many bytes of Arrow memory one batch holds, unless the caller asks for less or more."""

StoreResolver = Callable[[str], Sequence[Path]]
"""From `KIND/NAME@vK` to the data files of that version, in reading order."""


class SourceSpec(BaseModel):
    """What a recipe's source entry, and a suite's eval entry, say about reading."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)

    from_: str = Field(validation_alias="from", serialization_alias="from")
    """`hf:ORG/NAME`, `mirror:ORG/NAME`, a path, a glob, or `store:KIND/NAME@vK`."""
    files: str | None = None
    """Hub and mirror: a glob for some of the dataset's files, in place of a config."""
    get: str | None = None
    """For people: where to get the data, where a program cannot."""
    config: str | None = None
    """Hub: the config; `*` reads them all in the order of their names."""
    split: str | None = None
    """Hub: the split, `train` unless said. For files it is only a label."""
    revision: str | None = None
    """Hub: branch, tag or commit; `main` unless said."""
    records: str | None = None
    """`.json` objects: the key of the list that holds the rows (`data.items` goes down two levels)."""
    columns: tuple[str, ...] | None = None
    """csv and tsv without a header: the names of the columns."""


class FileLock(BaseModel):
    """One file of a source, as it was read."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    path: str
    bytes: int
    sha256: str


class SourceLock(BaseModel):
    """What pins a source: the commit of a Hub dataset, or the hashes of its files."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    origin: str
    revision: str | None = None
    config: str | None = None
    split: str | None = None
    files: tuple[FileLock, ...] = ()


class Source(ABC):
    """An opened source: it exists, its files can be read, and its revision is fixed."""

    spec: SourceSpec
    origin: str
    """How it is shown: `hf:org/name`, or the path as it was written."""
    nbytes: int | None
    """Bytes on disk in all, where that is known; `Batch.position` counts towards it."""
    synthetic: bool = False
    """Whether the rows are made up, to try a recipe with: those of a sample mirror."""

    @abstractmethod
    def lock(self) -> SourceLock:
        """What pins this source. Files are hashed at the first call."""

    @abstractmethod
    def reads(self) -> dict[str, str]:
        """What it reads: keys that two sources share where they read the same, and names for people."""

    @abstractmethod
    def batches(self, *, on_bad: OnBad = stop, batch_bytes: int = BATCH_BYTES) -> Iterator[Batch]:
        """The rows in order, in batches of about `batch_bytes`, with their native columns.

        Two batches may differ in their columns and types: a later part of a JSON file may know more keys.

        Raises:
            SourceError: the source cannot be read any further (cut short, corrupt, empty).
            RowError: a row cannot be read, and `on_bad` is `stop`.
        """


def open_source(
    spec: SourceSpec, *, base: Path, mirror: Path | None = None, store: StoreResolver | None = None
) -> Source:
    """Find what `spec` names, and fail now if it cannot be read.

    Relative paths are relative to `base`. `mirror` is a folder laid out `<org>/<name>/…` that is asked before
    the Hub; without it, the environment variable TULU_DATA_MIRROR names it. `store` finds the files of
    `store:KIND/NAME@vK`.

    Raises:
        SourceError: nothing is there, it may not be read, its format is unknown, or the Hub has no such
            config, split or revision.
    """
    scheme, _, rest = spec.from_.partition(":")
    if scheme in ("hf", "mirror"):
        return _open_dataset(spec, rest, mirror or _mirror_from_environment(), only_mirror=scheme == "mirror")
    if spec.files is not None:
        raise SourceError(
            "`files:` is for hf:ORG/NAME and mirror:ORG/NAME",
            where=spec.from_,
            remedy="Name the files in `from:`",
        )
    from tulu_data.sources import files

    if scheme == "store":
        if store is None:
            raise SourceError(f"{spec.from_} is not readable here", expected="a file, a glob or hf:ORG/NAME")
        return files.open_paths(spec, store(rest))
    if "://" in spec.from_:
        raise SourceError(
            f"{spec.from_} is a URL", expected="a file, a glob or hf:ORG/NAME", remedy="Download it first"
        )
    return files.open_files(spec, base)


def _mirror_from_environment() -> Path | None:
    named = os.environ.get("TULU_DATA_MIRROR")
    return Path(named).expanduser() if named else None


def _open_dataset(spec: SourceSpec, dataset: str, mirror: Path | None, *, only_mirror: bool) -> Source:
    from tulu_data.sources.hub import open_dataset
    from tulu_data.sources.hub_files import open_dataset_files
    from tulu_data.sources.mirror import open_mirrored

    if dataset.count("/") != 1 or not all(dataset.split("/")) or ".." in dataset:
        scheme = spec.from_.partition(":")[0]
        raise SourceError(
            f"{spec.from_!r} names no dataset", expected=f"{scheme}:ORG/NAME, as in {scheme}:openai/gsm8k"
        )
    if spec.files is not None and spec.config is not None:
        raise SourceError("`files` and `config` are both given", where=spec.from_, remedy="Keep one of them")
    if mirror is not None and not mirror.is_dir():
        raise SourceError(
            f"the mirror folder {mirror} does not exist", remedy="See --mirror and TULU_DATA_MIRROR"
        )
    if mirror is not None and (mirror / dataset).is_dir():
        return open_mirrored(spec, dataset, mirror)
    if only_mirror:
        raise _not_mirrored(spec, dataset, mirror)
    opened = open_dataset if spec.files is None else open_dataset_files
    return opened(spec, dataset, mirror)


def _not_mirrored(spec: SourceSpec, dataset: str, mirror: Path | None) -> SourceError:
    what = f"{spec.from_} is not on the Hub, and " + (
        f"the mirror folder {mirror} does not hold it" if mirror else "no mirror folder is given"
    )
    place = f"in the folder {dataset} of a mirror; see --mirror and TULU_DATA_MIRROR"
    return SourceError(
        what, remedy=f"Put it {place}. Where to get it: {spec.get}" if spec.get else f"Put it {place}"
    )
