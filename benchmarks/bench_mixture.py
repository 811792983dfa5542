"""How fast a mixture of the size of Tülu 3's is built, beside `datasets` and DuckDB.

The mirror of `mirror.py` (939,344 conversations of 19 sources, 2.9 GB of text) is built into a version with
every kind of step: valid_conversation, keyword_filter, exact_dedup, minhash, decontaminate against the whole
local suite; sorted, with lineage, certificate, review page and card. Nothing is kept from run to run.

Then the plain mixing alone, a recipe without steps, beside what others offer for it: `datasets` loads,
concatenates, shuffles and writes; DuckDB copies by the hash of the id. All write the same rows once, as
Parquet, on two threads; ours and DuckDB's is zstd at level 3, that of `datasets` its own Snappy.

Every run is a process of its own. `cores` are the seconds of all its threads together: they hang less on what
else the machine does than those of the clock.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import corpus
import mirror
import pyarrow as pa
import pyarrow.parquet as pq
from measure import process

from tulu_data.progress import Progress, Task
from tulu_data.show import table

ROOT = Path(__file__).resolve().parent.parent
THREADS = 2
STEPS = """steps:
  - {op: valid_conversation}
  - {op: keyword_filter, list: provider_names}
  - {op: exact_dedup}
  - {op: minhash, threshold: 0.8}
  - {op: decontaminate, suite: suite.yaml, on_unseen: rows}
"""
PASSES = (
    "pass 1: valid_conversation, keyword_filter, exact_dedup finds",
    "pass 2: exact_dedup drops, minhash finds candidates",
    "pass 3: minhash compares them",
    "pass 4: minhash drops, decontaminate finds",
    "pass 5: decontaminate drops; counting, setting down",
)


def main() -> None:
    """Builds the mirror, measures, prints two tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    default = os.environ.get("TULU_DATA_SHARED", ROOT.parent / "shared" / "data")
    parser.add_argument("--shared", type=Path, default=Path(default), help="the folder of real data sets")
    parser.add_argument("--work", type=Path, default=Path(tempfile.gettempdir()) / "tulu-data-bench")
    parser.add_argument("--scale", type=float, default=1.0, help="the part of each source's rows")
    parser.add_argument("--only", choices=RUNS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if not (options.shared / "README.md").is_file():
        sys.exit(f"the real data sets are not at {options.shared}; set TULU_DATA_SHARED to their folder")
    place = options.work / f"mixture-{options.scale:g}"
    if options.only:
        print(json.dumps(RUNS[options.only](place)))
        return
    mirror.build(options.shared, place / "mirror", options.scale)
    _workspace(options.shared, place, options.scale)
    _compile(options, place)
    _report(options, place)


def _report(options: argparse.Namespace, place: Path) -> None:
    files = sorted((place / "mirror").rglob("*.parquet"))
    rows = sum(pq.read_metadata(file).num_rows for file in files)
    megabytes = sum(_megabytes(file) for file in files)
    machine = f"{THREADS} threads of {os.cpu_count()} cores"
    print(f"\n{rows:,} conversations, {megabytes:,.0f} MB of text; {machine}\n")
    found = {name: _run(options, name) for name in RUNS}
    whole = found["full"]
    marks = whole["marks"]
    head = ("step of the whole build", "seconds", "of cores", "peak GB so far")
    told = [(what, seconds, cores, memory) for what, seconds, cores, memory in marks]
    table(head, [*told, ("in all, with starting", whole["seconds"], whole["cores"], whole["memory"])])
    print()
    peer = found["duckdb"]
    lines = []
    for name in ("plain", "duckdb", "datasets"):
        run = found[name]
        ratio = f"{run['seconds'] / peer['seconds']:.2f} ({run['cores'] / peer['cores']:.2f})"
        lines.append((TOLD[name], run["seconds"], run["cores"], run["memory"], ratio))
    table(("plain mixing", "seconds", "of cores", "peak GB", "times DuckDB (of cores)"), lines)
    print()
    lines = [(TOLD[name], *(found[name][key] for key in ("inside", "cores", "memory"))) for name in AFTER]
    table(("between versions", "seconds", "of cores", "peak GB"), lines)


def _megabytes(file: Path) -> float:
    parts = pq.ParquetFile(file).iter_batches(columns=["messages"])
    return sum(corpus.text_bytes(pa.Table.from_batches([part])) for part in parts) / 1e6


def _run(options: argparse.Namespace, name: str) -> dict[str, Any]:
    own = ["--shared", str(options.shared), "--work", str(options.work), "--scale", str(options.scale)]
    seconds, memory, output = process(str(Path(__file__).resolve()), *own, "--only", name)
    found: dict[str, Any] = json.loads(output.splitlines()[-1])
    return found | {"seconds": seconds, "memory": memory}


def _workspace(shared: Path, place: Path, scale: float) -> None:
    """Two recipes, with the suite and a link to the data that its paths go through."""
    folder = place / "mixtures"
    folder.mkdir(exist_ok=True)
    link = folder / "data"
    if not link.exists():
        link.symlink_to(shared.resolve())
    shutil.copy(ROOT / "tests" / "recipes" / "suite.yaml", folder / "suite.yaml")
    sources = "sources:\n" + "".join(
        f'  - {{name: {name.rpartition("/")[2]}, from: "hf:{name}", count: {mirror.scaled(rows, scale)}}}\n'
        for name, rows in mirror.SOURCES.items()
    )
    for name, steps in (("full", STEPS), ("plain", "")):
        head = f"mixture: {name}\nkind: sft\nseed: 42\n"
        (folder / f"{name}.yaml").write_text(head + sources + steps)


def _compile(options: argparse.Namespace, place: Path) -> None:
    """A build of a few rows puts the kernels into Numba's cache."""
    small = argparse.Namespace(**{**vars(options), "scale": 0.001})
    where = options.work / f"mixture-{small.scale:g}"
    if place != where:
        mirror.build(small.shared, where / "mirror", small.scale)
        _workspace(small.shared, where, small.scale)
        _run(small, "full")


# -- the runs, each in a process of its own ------------------------------------------------------------------


class Marks(Progress):
    """Takes the time between the parts of a build."""

    def __init__(self) -> None:
        self.marks: list[tuple[str, float, float, float]] = []
        self._what = "check: recipe, sources, suite"
        self._clock, self._cores = time.perf_counter(), time.process_time()

    @contextmanager
    def task(self, what: str, total: int | None = None, unit: str = "B") -> Iterator[Task]:
        """A part begins, and another ends."""
        if what.startswith("run the steps"):
            number = int(what.rpartition(" pass ")[2]) if " pass " in what else 1
            self.begin(PASSES[number - 1])
        elif what == "write":
            self.begin("write: sort, data, lineage, logical hash")
        elif what.startswith("read "):
            self.begin("read: adapt, hash, set down; select")
        yield Task(what, total, unit)
        if what == "write":
            self.begin("certificate, review page, manifest, card")

    def begin(self, what: str) -> None:
        """A part begins here."""
        if what == self._what:
            return
        clock, cores = time.perf_counter(), time.process_time()
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
        self.marks.append((self._what, clock - self._clock, cores - self._cores, peak))
        self._what, self._clock, self._cores = what, clock, cores


def _build(place: Path, name: str) -> dict[str, Any]:
    from tulu_data import build
    from tulu_data.workspace import Workspace

    marks, space = Marks(), Workspace(place)
    shutil.rmtree(place / "store" / "mixtures" / name, ignore_errors=True)
    build(
        name,
        workspace=space,
        mirror=place / "mirror",
        threads=THREADS,
        cache=False,
        progress=marks,
    )
    marks.begin("")
    return {"marks": marks.marks, "cores": time.process_time()}


def _full(place: Path) -> dict[str, Any]:
    return _build(place, "full")


def _plain(place: Path) -> dict[str, Any]:
    return _build(place, "plain")


def _datasets(place: Path) -> dict[str, Any]:
    from datasets import Dataset, concatenate_datasets

    with tempfile.TemporaryDirectory(dir=place) as folder:
        files = sorted((place / "mirror").rglob("*.parquet"))
        parts = [Dataset.from_parquet(str(file), cache_dir=folder) for file in files]
        shuffled = concatenate_datasets(parts).shuffle(seed=42)
        shuffled.to_parquet(Path(folder) / "out.parquet")
    return {"cores": time.process_time()}


def _duckdb(place: Path) -> dict[str, Any]:
    import duckdb

    with tempfile.TemporaryDirectory(dir=place) as folder:
        settings: dict[str, Any] = {"threads": THREADS, "memory_limit": "4GB", "temp_directory": folder}
        with duckdb.connect(config=settings) as connection:
            connection.execute(
                f"COPY (FROM read_parquet('{place}/mirror/**/*.parquet') ORDER BY hash('42/' || id)) "
                f"TO '{folder}/out.parquet' (FORMAT parquet, COMPRESSION zstd, COMPRESSION_LEVEL 3)"
            )
    return {"cores": time.process_time()}


def _diff(place: Path) -> dict[str, Any]:
    from tulu_data import diff

    start = time.perf_counter()
    diff("plain", "full", store=place / "store")
    return {"cores": time.process_time(), "inside": time.perf_counter() - start}


def _trace(place: Path) -> dict[str, Any]:
    from tulu_data import trace

    (version,) = (place / "store" / "mixtures" / "full").glob("v*")
    row = pq.ParquetFile(version / "lineage.parquet").read_row_group(0, columns=["id"])["id"][-1].as_py()
    start = time.perf_counter()
    trace("full", row, store=place / "store")
    return {"cores": time.process_time(), "inside": time.perf_counter() - start}


RUNS = {
    "full": _full,
    "plain": _plain,
    "duckdb": _duckdb,
    "datasets": _datasets,
    "diff": _diff,
    "trace": _trace,
}
AFTER = ("diff", "trace")
TOLD = {
    "plain": "ours: sorted by hash, with lineage, manifest and card",
    "duckdb": "DuckDB: COPY … ORDER BY hash(id), zstd",
    "datasets": "datasets: concatenate, shuffle, to_parquet",
    "diff": "diff of the two",
    "trace": "trace of one row",
}


if __name__ == "__main__":
    main()
