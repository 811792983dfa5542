"""What keeping results between runs saves: `make bench` prints this, from one run on the machine at hand.

The corpus of `bench_decontaminate.py` is scanned for the local suite, from batches in memory to findings with
their evidence: nothing kept, with an empty cache, again unchanged, after an eval was added, and after a
shard was. A run includes making or loading the matcher where one is needed; reading the suite and the data is
in none of them. The median of three runs each; every run begins with its own copy of what is kept.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import corpus
import pyarrow as pa
import pyarrow.parquet as pq

from tulu_data.decontam.cache.batches import batch_key
from tulu_data.decontam.cache.scans import CachedFindings
from tulu_data.decontam.cache.store import KINDS, Cache
from tulu_data.decontam.items import SuiteItems, read_items
from tulu_data.decontam.suite import load_suite
from tulu_data.engine import ordered_map, rebatch
from tulu_data.show import table
from tulu_data.workspace import Workspace

ROOT = Path(__file__).resolve().parent.parent
THREADS = 2
RUNS = 3
ADDED = "truthfulqa"
"""The eval that is added; 817 items, so that the scan shows and not the matcher."""


def main() -> None:
    """Builds the corpus, measures, prints one table for each rule."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    default = os.environ.get("TULU_DATA_SHARED", ROOT.parent / "shared" / "data")
    parser.add_argument("--shared", type=Path, default=Path(default), help="the folder of real data sets")
    parser.add_argument("--work", type=Path, default=Path(tempfile.gettempdir()) / "tulu-data-bench")
    parser.add_argument("--megabytes", type=int, default=300)
    parser.add_argument("--rules", nargs="*", default=["tulu3", "tulu-data"])
    options = parser.parse_args()
    if not (options.shared / "README.md").is_file():
        sys.exit(f"the real data sets are not at {options.shared}; set TULU_DATA_SHARED to their folder")
    data = corpus.build(
        options.shared, options.work / f"corpus-{options.megabytes}.parquet", options.megabytes
    )
    file = pq.ParquetFile(data)
    column = (pa.Table.from_batches([batch]) for batch in file.iter_batches(columns=["messages"]))
    batches = list(rebatch(column))
    for rule in options.rules:
        items = read_items(
            load_suite(_suite(options.shared, options.work), Workspace(options.work), rule=rule)
        )
        print(f"\nscanning for {len(items.evals)} evals by {rule}, --roles all, {THREADS} threads\n")
        table(("what", "seconds", "of a full scan", "note"), measure(batches, items, options.work))


def _suite(shared: Path, work: Path) -> Path:
    """The local suite, beside a link to the data that its paths go through."""
    link = work / "data"
    if not link.exists():
        link.symlink_to(shared.resolve())
    return Path(shutil.copy(ROOT / "tests" / "recipes" / "suite.yaml", work / "suite.yaml"))


def measure(batches: list[pa.Table], items: SuiteItems, work: Path) -> list[tuple[object, ...]]:
    """Seconds of every kind of run, and their share of a full one."""
    megabytes = sum(corpus.text_bytes(batch) for batch in batches) / 1e6
    others = replace(items, evals=tuple(part for part in items.evals if part.eval.name != ADDED))
    shard = len(batches) // 10
    empty, most, fewer, whole = (_folder(work, name) for name in ("empty", "most", "fewer", "whole"))
    _scan(None, batches[:1], items)  # compiles the kernels
    _scan(whole, batches, items)
    _scan(fewer, batches, others)
    _scan(most, batches[shard:], items)
    full, _ = _median(lambda: _scan(None, batches, items))
    rows = [_row("a full scan, nothing kept", full, full, f"{megabytes:.0f} MB of text")]
    for what, folder in (
        ("the first run, everything kept", empty),
        ("the second run, nothing new", whole),
        (f"one eval added ({ADDED})", fewer),
        (f"one shard added ({shard} of {len(batches)} batches)", most),
    ):
        seconds, told = _again(folder, batches, items)
        rows.append(_row(what, seconds, full, told))
    hashing, _ = _median(lambda: list(ordered_map(lambda b: batch_key(b, "sft", None), batches, THREADS)))
    rows.append(_row("of each: hashing the texts", hashing, full, f"{megabytes / hashing:,.0f} MB/s"))
    cache = Cache(whole)
    for kind in KINDS:
        size = sum(entry.size for entry in cache.entries(kind)) / 1e6
        rows.append((f"on disk: {kind}", "", "", f"{size:,.0f} MB"))
    return rows


def _row(what: str, seconds: float, full: float, note: str) -> tuple[object, ...]:
    return what, f"{seconds:.2f}", f"{seconds / full:.2f}", note


def _folder(work: Path, name: str) -> Path:
    folder = work / "kept" / name
    shutil.rmtree(folder, ignore_errors=True)
    return folder


def _scan(folder: Path | None, batches: list[pa.Table], items: SuiteItems) -> str:
    """Scans all batches as a new process would, with no matcher made yet; says what was scanned."""
    cache = Cache(folder) if folder else None
    run = CachedFindings(cache, replace(items, cache=cache), None)
    for _ in ordered_map(lambda batch: run(batch, "sft"), batches, THREADS):
        pass
    counts = run.counts.told()
    parts = f"{counts['partly_scanned']} scanned in part, {counts['scanned']} in full"
    return f"{counts['kept']} batches known, {parts}"


def _again(folder: Path, batches: list[pa.Table], items: SuiteItems) -> tuple[float, str]:
    """The median of runs that each begin with what is in the folder."""
    times, told = [], ""
    for number in range(RUNS):
        copy = folder.with_name(f"{folder.name}-{number}")
        if folder.exists():
            shutil.copytree(folder, copy)
        start = time.perf_counter()
        told = _scan(copy, batches, items)
        times.append(time.perf_counter() - start)
        shutil.rmtree(copy)
    return statistics.median(times), told


def _median(work: Callable[[], object]) -> tuple[float, object]:
    """Seconds of wall clock, and the last result."""
    times, result = [], None
    for _ in range(RUNS):
        start = time.perf_counter()
        result = work()
        times.append(time.perf_counter() - start)
    return statistics.median(times), result


if __name__ == "__main__":
    main()
