"""What is told of a version: read once from its manifest and its files, so that whatever tells it agrees."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.compute as pc
import pyarrow.parquet as pq

from tulu_data.mixtures.find import TEST, TRAIN, lineage_file

SPLITS = {"train": TRAIN, "test": TEST}
"""The names under which loaders know the folders of a version."""


@dataclass(frozen=True)
class Split:
    """The rows to train on, or those held out."""

    name: str
    folder: str
    files: tuple[str, ...]
    rows: int
    bytes: int
    """Of its files."""
    whole: int
    """Of its rows once they are decompressed."""

    @property
    def pattern(self) -> str:
        """What finds its files."""
        return f"{self.folder}/*.parquet"


@dataclass(frozen=True)
class Facts:
    """A version as its card, its Croissant file and a push tell it."""

    manifest: Mapping[str, Any]
    splits: tuple[Split, ...]
    """`train`, and `test` where rows were held out."""
    licenses: Mapping[str, Counter[str | None]]
    """By source, how many of its rows have which licence; None where a row has none."""

    @property
    def rows(self) -> int:
        """The rows of all splits."""
        return sum(split.rows for split in self.splits)

    @property
    def name(self) -> str:
        """`sft_mini v3-5f26e7a1`."""
        return f"{self.manifest['mixture']} {self.manifest['version']}"

    @property
    def synthetic(self) -> bool:
        """Whether rows were made up to try the recipe with."""
        return bool(self.manifest.get("synthetic"))

    def all_licenses(self) -> Counter[str | None]:
        """How many rows have which licence."""
        return sum(self.licenses.values(), Counter())


def facts_of(folder: Path, manifest: Mapping[str, Any]) -> Facts:
    """What is told of the version in `folder`, whose manifest may not be written yet.

    Raises:
        StoreError: `lineage.parquet` is missing.
    """
    files: Mapping[str, Mapping[str, Any]] = manifest["files"]
    splits = (_split(name, folder, part, files) for name, part in SPLITS.items())
    found = tuple(split for split in splits if split.files)
    return Facts(manifest, found, _licenses(lineage_file(folder)))


def _split(name: str, folder: Path, part: str, files: Mapping[str, Mapping[str, Any]]) -> Split:
    held = {path: told for path, told in files.items() if path.startswith(f"{part}/")}
    rows, size = (sum(told[key] for told in held.values()) for key in ("rows", "bytes"))
    return Split(name, part, tuple(sorted(held)), rows, size, sum(_whole(folder / path) for path in held))


def _whole(path: Path) -> int:
    footer = pq.read_metadata(path)
    return sum(int(footer.row_group(group).total_byte_size) for group in range(footer.num_row_groups))


def _licenses(lineage: Path) -> dict[str, Counter[str | None]]:
    rows = pq.read_table(lineage, columns=["source", "license"])
    named = pc.utf8_trim_whitespace(rows["license"])
    table = rows.set_column(1, "license", pc.if_else(pc.equal(named, ""), None, named))
    counts: dict[str, Counter[str | None]] = {}
    for group in table.group_by(["source", "license"]).aggregate([([], "count_all")]).to_pylist():
        counts.setdefault(group["source"], Counter())[group["license"]] += group["count_all"]
    return counts
