"""`verify`: whether a version is still what was built, from the bytes of its files to the hash of its rows.

files      every file of `SHA256SUMS` and of the manifest is there with its SHA-256, and no other one
name       the folder is where its build put it, and its name ends with the beginning of the logical hash
rows       each file, the lineage and the whole have as many rows as the manifest says
logical    the hash over the rows as values, computed again from the files, is the manifest's
lock       `lock.json` pins the sources that the manifest names

Of a version that was built before there was a `SHA256SUMS`, a note says that its other files are not covered.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from tulu_data.errors import StoreError
from tulu_data.mixtures.find import TEST, TRAIN, all_versions, find_version, label, manifest_of, readable
from tulu_data.mixtures.lock import LOCK, read_lock
from tulu_data.mixtures.store import Version, misnamed
from tulu_data.mixtures.sums import SUMS, flaws
from tulu_data.mixtures.writer import LogicalHash
from tulu_data.progress import Progress
from tulu_data.workspace import Workspace

SHARD = re.compile(r"(.+)-\d{5}-of-\d{5}\.parquet")
"""The name of a data file: its part (`train`, or a source), its number, how many there are."""

LINEAGE = "lineage.parquet"

PARTS = (f"{TRAIN}/", f"{TEST}/")
"""How the paths of the rows begin: with a file too many among them, there is nothing to hash."""


@dataclass(frozen=True)
class Fault:
    """One way in which a version is not what was built."""

    version: str
    """`sft_mini@v2`."""
    what: str
    """`altered`, `missing`, `extra`, `rows`, `logical hash`, `lock`, `name` or `manifest`."""
    where: str
    """The file, from the version's folder on, or the folder."""
    told: str
    """What was found, and what was expected."""

    def __str__(self) -> str:
        return f"{self.version}: {self.where}: {self.told}"


@dataclass(frozen=True)
class Verified:
    """What was looked at, and what is wrong with it."""

    versions: list[str]
    files: int
    rows: int
    faults: list[Fault]
    notes: list[str]
    """What could not be looked at, of versions that were built by an earlier release."""


def verify(
    *versions: str | Path,
    store: Path | None = None,
    workspace: Workspace | None = None,
    progress: Progress | None = None,
) -> Verified:
    """Compare versions with their manifests; all of the store, previews too, where none is named.

    Every byte is read, and every row hashed. A version that cannot be read is a fault like others, and the
    rest is looked at.

    Args:
        versions: each `NAME`, `NAME@vK`, `NAME@preview`, or a version's folder.
        store: the store; `store/` in the workspace unless given.
        workspace: the current folder unless given.
        progress: who is told how far the work is.

    Raises:
        UsageError: nothing has one of the names.
        StoreError: there is no store.
    """
    store = store or (workspace or Workspace.here()).root / "store"
    progress = progress or Progress()
    found = [find_version(named, store) for named in versions] if versions else list(all_versions(store))
    checks = [_Check(version) for version in found]
    for check in checks:
        with progress.task(f"verify {check.label}", unit="rows") as task:
            check.faults += check.look(task.advance)
    return Verified(
        [check.label for check in checks],
        sum(check.files for check in checks),
        sum(check.rows for check in checks),
        [fault for check in checks for fault in check.faults],
        [check.note for check in checks if check.note],
    )


class _Check:
    """One version held against its manifest."""

    def __init__(self, version: Version) -> None:
        self.version, self.label = version, label(version)
        self.files = self.rows = 0
        self.faults: list[Fault] = []
        self.note = ""

    def look(self, advance: Callable[[int], None]) -> Iterator[Fault]:
        """Everything that is wrong with it; `advance` is told of rows that are done."""
        try:
            manifest = manifest_of(self.version.path)
        except StoreError as error:
            yield self._fault("manifest", "manifest.json", f"{error.what}; {error.remedy}")
            return
        told = manifest["files"]
        found = list(flaws(self.version.path, told))
        yield from (self._fault(flaw.what, flaw.file, flaw.told) for flaw in found)
        self._count(told)
        broken = {flaw.file for flaw in found}
        if LOCK not in broken:
            yield from self._lock(manifest)
        if wrong := misnamed(self.version, manifest):
            yield self._fault("name", ".", wrong)
        if not any(name in told or name.startswith(PARTS) for name in broken):
            yield from self._rows(manifest)
            yield from self._logical(manifest, advance)

    def _fault(self, what: str, where: str, told: str) -> Fault:
        return Fault(self.label, what, where, told)

    def _count(self, told: Mapping[str, object]) -> None:
        path = self.version.path / SUMS
        self.files = len(path.read_bytes().splitlines()) if path.is_file() else len(told)
        if not path.is_file():
            self.note = f"{self.label} has no {SUMS}: only its Parquet files and its lock were looked at"

    def _lock(self, manifest: Mapping[str, Any]) -> Iterator[Fault]:
        try:
            lock = read_lock(self.version.path / LOCK)
        except StoreError as error:
            yield self._fault("lock", LOCK, error.what)
            return
        if lock != {source["name"]: source["lock"] for source in manifest["sources"]}:
            yield self._fault("lock", LOCK, "pins the sources otherwise than the manifest")

    # -- rows ------------------------------------------------------------------------------------------------

    def _rows(self, manifest: Mapping[str, Any]) -> Iterator[Fault]:
        counts = {}
        for name, expected in manifest["files"].items():
            if "rows" not in expected:
                continue
            counts[name] = pq.read_metadata(self.version.path / name).num_rows
            if counts[name] != expected["rows"]:
                yield self._rows_fault(name, counts[name], expected["rows"])
        held = {folder: _sum(counts, folder) for folder in (TRAIN, TEST)}
        held_out = manifest.get("test_rows", 0)
        for folder, expected in ((TRAIN, manifest["rows"] - held_out), (TEST, held_out)):
            if held[folder] != expected:
                yield self._rows_fault(folder, held[folder], expected)
        if counts.get(LINEAGE) != sum(held.values()):
            yield self._rows_fault(LINEAGE, counts.get(LINEAGE, 0), sum(held.values()))
        self.rows = sum(held.values())

    def _rows_fault(self, where: str, rows: int, expected: int) -> Fault:
        return self._fault("rows", where, f"has {rows:,} rows, expected {expected:,}")

    def _logical(self, manifest: Mapping[str, Any], advance: Callable[[int], None]) -> Iterator[Fault]:
        digest = logical_hash(self.version.path, manifest, advance)
        expected = manifest["logical_hash"]
        if digest != expected:
            said = f"the rows hash to {digest[:12]}…, expected {expected[:12]}…"
            yield self._fault("logical hash", TRAIN, said)


def _sum(counts: Mapping[str, int], folder: str) -> int:
    return sum(rows for name, rows in counts.items() if name.startswith(f"{folder}/"))


def logical_hash(version: Path, manifest: Mapping[str, Any], advance: Callable[[int], None]) -> str:
    """The hash of a version's rows as values, from its data files.

    Raises:
        StoreError: a file cannot be read.
    """
    schema = pq.read_schema(next(_in_order(version / TRAIN, manifest)))
    logical = LogicalHash(manifest["kind"], schema)
    for folder in (TRAIN, TEST):
        if folder == TEST and manifest.get("test_rows"):
            logical.split(TEST)
        for path in _in_order(version / folder, manifest):
            for batch in _batches(path):
                logical.update(batch)
                advance(batch.num_rows)
    return logical.hexdigest()


def _batches(path: Path) -> Iterator[pa.Table]:
    with readable(path), pq.ParquetFile(path) as file:
        for batch in file.iter_batches():
            yield pa.Table.from_batches([batch])


def _in_order(folder: Path, manifest: Mapping[str, Any]) -> Iterator[Path]:
    """The data files in the order in which they were written: parts follow the sources of the recipe."""
    files = sorted(folder.glob("*.parquet"))
    parts = [source["name"] for source in manifest["sources"]]

    def place(path: Path) -> int:
        match = SHARD.fullmatch(path.name)
        return parts.index(match[1]) if match and match[1] in parts else 0

    yield from sorted(files, key=place)  # stable: shards by their numbers within a part
