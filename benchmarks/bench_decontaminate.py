"""How fast decontamination is: `make bench` prints this, from one run on the machine at hand.

Indexing and scanning are timed inside one process, the rules in turns; the whole command as a process of its
own, and beside them the median of five warm reads of the Parquet column alone. Scanning is from Arrow batches
in memory to findings with their evidence. Nothing is compiled while the clock runs: a first scan of a few
rows has put the kernels into Numba's cache.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TypeVar

import corpus
import pyarrow as pa
import pyarrow.parquet as pq

from tulu_data.decontam.evidence import findings_of
from tulu_data.decontam.items import SuiteItems, read_items
from tulu_data.decontam.suite import load_suite
from tulu_data.engine import ordered_map, rebatch
from tulu_data.show import table
from tulu_data.workspace import Workspace

ROOT = Path(__file__).resolve().parent.parent
THREADS = 2
T = TypeVar("T")


def main() -> None:
    """Builds the corpus, measures, prints one table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    default = os.environ.get("TULU_DATA_SHARED", ROOT.parent / "shared" / "data")
    parser.add_argument("--shared", type=Path, default=Path(default), help="the folder of real data sets")
    parser.add_argument("--work", type=Path, default=Path(tempfile.gettempdir()) / "tulu-data-bench")
    parser.add_argument("--megabytes", type=int, default=300)
    options = parser.parse_args()
    if not (options.shared / "README.md").is_file():
        sys.exit(f"the real data sets are not at {options.shared}; set TULU_DATA_SHARED to their folder")
    data = corpus.build(
        options.shared, options.work / f"corpus-{options.megabytes}.parquet", options.megabytes
    )
    suite = _suite(options.shared, options.work)
    rows = measure(data, suite, options.work)
    print(f"\ntulu-data decontaminate --roles all, {THREADS} threads of {os.cpu_count()} cores\n")
    table(("what", "seconds", "MB/s", "note"), rows)


def _suite(shared: Path, work: Path) -> Path:
    """The local suite, beside a link to the data that its paths go through."""
    link = work / "data"
    if not link.exists():
        link.symlink_to(shared.resolve())
    return Path(shutil.copy(ROOT / "tests" / "recipes" / "suite.yaml", work / "suite.yaml"))


RULES = ("tulu3", "tulu-data", "minhash")
"""The plain rule first: the others are told as multiples of it."""


def measure(data: Path, suite: Path, work: Path) -> list[tuple[object, ...]]:
    """Seconds and MB/s of every part, for every rule."""
    megabytes = sum(corpus.text_bytes(t) for t in _column(data)) / 1e6
    count = pq.ParquetFile(data).metadata.num_rows
    batches = list(rebatch(_column(data)))
    rows: list[tuple[object, ...]] = [("corpus", None, None, f"{count:,} rows, {megabytes:.0f} MB of text")]
    suites = {}
    for rule in RULES:
        _whole(suite, work, _few(data, work), rule)  # compiles, and warms the file cache
        loaded = load_suite(str(suite), Workspace(work), rule=rule)
        reading, items = _timed(partial(read_items, loaded))
        indexing, _ = _timed(partial(getattr, items, "matcher"))
        suites[rule] = items
        found = findings_of(batches[0].slice(0, 1000), "sft", None, items)  # what is made at first use
        assert len(found)
        total = sum(len(part.ids) for part in items.evals)
        rows.append((f"{rule}: index", indexing, None, f"{total:,} items, read in {reading:.1f} s"))
    scans: dict[str, list[float]] = {rule: [] for rule in RULES}
    flagged = {}
    for _ in range(3):  # in turns, so that the machine's moods meet all of them
        for rule, items in suites.items():
            seconds, flagged[rule] = _timed(partial(_scan, batches, items))
            scans[rule].append(seconds)
    suites.clear()
    plain = min(scans[RULES[0]])
    for rule in RULES:
        best = min(scans[rule])
        note = f"least of 3; {best / plain:.2f} times {RULES[0]}; {flagged[rule]:,} rows with findings"
        rows.append((f"{rule}: scan", best, megabytes / best, note))
    reads = statistics.median(_timed(lambda: pq.read_table(data, columns=["messages"]))[0] for _ in range(5))
    rows.append(("read the column alone", reads, megabytes / reads, "median of 5 warm reads"))
    whole = {rule: min(_whole(suite, work, data, rule) for _ in range(2)) for rule in RULES[:2]}
    for rule, (seconds, memory) in whole.items():
        ratio = seconds / whole[RULES[0]][0]
        note = f"least of 2; {ratio:.2f} times {RULES[0]}; peak memory {memory:.2f} GB"
        rows.append((f"{rule}: the whole command", seconds, megabytes / seconds, note))
    return rows


def _column(data: Path) -> list[pa.Table]:
    file = pq.ParquetFile(data)
    return [pa.Table.from_batches([batch]) for batch in file.iter_batches(columns=["messages"])]


def _few(data: Path, work: Path) -> Path:
    few = work / "few.parquet"
    pq.write_table(pq.ParquetFile(data).read_row_group(0).slice(0, 100), few)
    return few


def _scan(batches: list[pa.Table], items: SuiteItems) -> int:
    """Scans all batches; returns how many rows match."""

    def flagged(batch: pa.Table) -> int:
        findings = findings_of(batch, "sft", None, items)
        return len(findings) - int(findings.null_count)

    return sum(ordered_map(flagged, batches, THREADS))


def _timed(work: Callable[[], T]) -> tuple[float, T]:
    """Seconds of wall clock, and the result."""
    start = time.perf_counter()
    result = work()
    return time.perf_counter() - start, result


LAUNCH = """
import resource, subprocess, sys, time
start = time.perf_counter()
done = subprocess.run(sys.argv[1:], capture_output=True)
seconds = time.perf_counter() - start
print(seconds, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1e6)
sys.stderr.buffer.write(done.stderr)
sys.exit(done.returncode)
"""
"""A small process in between: Linux counts the memory of who starts a process as that process's own."""


def _whole(suite: Path, work: Path, scanned: Path, rule: str) -> tuple[float, float]:
    """Seconds and peak memory (GB) of the command, with report, certificate and cleaned output."""
    command = [sys.executable, "-c", LAUNCH, sys.executable, "-m", "tulu_data", "decontaminate"]
    command += ["--against", str(suite), "--roles", "all", "--threads", str(THREADS)]
    command += ["--rule", rule, "--no-cache"]
    command += ["--force", "--out", str(work / "out"), str(scanned)]
    done = subprocess.run(command, capture_output=True, check=False, text=True)
    if done.returncode not in {0, 3}:
        sys.exit(done.stderr)
    seconds, memory = done.stdout.split()
    return float(seconds), float(memory)


if __name__ == "__main__":
    main()
