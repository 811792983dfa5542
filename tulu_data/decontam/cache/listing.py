"""What is kept between runs, shown and pruned: what `tulu-data index` does."""

from __future__ import annotations

import contextlib
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from tulu_data.decontam.cache.keys import code_key
from tulu_data.decontam.cache.store import Cache, Kind, Listed, over
from tulu_data.engine.spill import disk_errors

DAY = 86_400.0
GROUPED = ("suite", "dataset", "roles")
TOLD: dict[Kind, set[str]] = {
    "indexes": {"suite", "rule", "evals", "items", "code"},
    "scans": {*GROUPED, "rows", "evals", "findings", "code"},
}
"""What the header of an entry must tell to be listed."""


@dataclass(frozen=True)
class Pruned:
    """What a pruning deleted, and what it left."""

    entries: int
    freed: int
    left: int
    left_bytes: int


def overview(cache: Cache) -> dict[str, Any]:
    """Everything that is kept: indexes one by one, scans by data set; what no run can use is only counted."""
    with disk_errors(cache.root):
        entries = list(cache.entries())
    useless = [entry for entry in entries if not _useful(entry)]
    useful = [entry for entry in entries if _useful(entry)]
    orphans = cache.orphans()
    return {
        "folder": str(cache.root),
        "bytes": _bytes(useful),
        "indexes": [_index(entry) for entry in useful if entry.kind == "indexes"],
        "scans": _scans([entry for entry in useful if entry.kind == "scans"]),
        "useless": {
            "entries": len(useless) + len(orphans),
            "bytes": _bytes(useless) + sum(path.stat().st_size for path in orphans),
        },
    }


def prune(
    cache: Cache, *, older_than: float | None = None, max_bytes: int | None = None, everything: bool = False
) -> Pruned:
    """Deletes what no run can use any more: damaged, half-written, or made by other code than this.

    Args:
        cache: where.
        older_than: also what was not used for so many days.
        max_bytes: also what was not used for longest, until no more than this remains.
        everything: all of it.

    Raises:
        StoreError: the folder cannot be written.
    """
    with disk_errors(cache.root):
        entries = list(cache.entries())
        before = time.time() - (older_than or 0.0) * DAY
        gone = [
            entry
            for entry in entries
            if everything or not _useful(entry) or (older_than is not None and entry.used < before)
        ]
        kept = [entry for entry in entries if entry not in gone]
        if max_bytes is not None:
            gone += over(kept, max_bytes)
            kept = [entry for entry in entries if entry not in gone]
        freed = cache.remove(gone)
        orphans = cache.orphans()
        for path in orphans:
            with contextlib.suppress(FileNotFoundError):
                freed += path.stat().st_size
                path.unlink()
    return Pruned(len(gone) + len(orphans), freed, len(kept), _bytes(kept))


def _useful(entry: Listed) -> bool:
    """Whether this version of the program can still use an entry."""
    return entry.header.keys() >= TOLD[entry.kind] and entry.header["code"] == code_key()


def _bytes(entries: Iterable[Listed]) -> int:
    return sum(entry.size for entry in entries)


def _index(entry: Listed) -> dict[str, Any]:
    about = {key: entry.header.get(key) for key in ("suite", "rule", "evals", "items")}
    return {**about, "bytes": entry.size, "last_used": _when(entry.used)}


def _scans(entries: Sequence[Listed]) -> list[dict[str, Any]]:
    """By suite, data set and roles: how many batches, and how many of them were scanned for which eval."""
    groups: dict[tuple[str, ...], list[Listed]] = defaultdict(list)
    for entry in entries:
        groups[tuple(str(entry.header[key]) for key in GROUPED)].append(entry)
    return [_group(dict(zip(GROUPED, key, strict=True)), group) for key, group in sorted(groups.items())]


def _group(about: dict[str, str], entries: Sequence[Listed]) -> dict[str, Any]:
    batches = {entry.path.parent: entry.header["rows"] for entry in entries}
    evals = Counter(name for entry in entries for name in entry.header["evals"])
    return {
        **about,
        "batches": len(batches),
        "rows": sum(batches.values()),
        "evals": dict(sorted(evals.items())),
        "findings": sum(entry.header["findings"] for entry in entries),
        "bytes": _bytes(entries),
        "last_used": _when(max(entry.used for entry in entries)),
    }


def _when(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M UTC")
