"""`dedup`: finds rows that are equal, or nearly so, and writes the data without all but one of them.

out/
clean/NAME.parquet      the rows that stay, with all their native columns
dropped/NAME.parquet    the rows that go, with a verdict, the row that stays for each, and how like they are
clusters.parquet        every member of every cluster, the survivor first
bad_rows.parquet        rows that could not be used, where they were skipped
summary.json            counts, and which data set repeats which
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from tulu_data import __version__
from tulu_data.dedup.clusters import CLUSTERS, Gone, RejectDuplicates, told
from tulu_data.dedup.compared import Deduplication
from tulu_data.dedup.reading import Loaded, Reading, common_kind, load, open_data, positions
from tulu_data.engine import BATCH_BYTES, ordered_map
from tulu_data.errors import UsageError, unknown
from tulu_data.op import Context, Fold, Registry
from tulu_data.progress import Progress
from tulu_data.record import VERDICT, Kind
from tulu_data.sources import SetAside
from tulu_data.sources.batch import bad_rows_table
from tulu_data.sources.data import Data, named_data
from tulu_data.sources.output import NativeWriter, new_folder

WRITTEN = {"clean", "dropped", "clusters.parquet", "bad_rows.parquet", "summary.json"}
"""What a result's folder holds; `--force` replaces no folder that holds anything else."""

METHODS = {"exact": "exact_dedup", "minhash": "minhash"}
"""The operator of each method."""

MEMBERS = pa.schema([
    ("cluster", pa.int64()),
    ("dataset", pa.string()),
    ("row", pa.int64()),  # its number in the data set, from 0
    ("train_id", pa.string()),  # the row's own id, where it has one
    ("row_id", pa.string()),
    ("survivor", pa.string()),  # the row_id of the row that stays
    ("kept", pa.bool_()),
    ("rule", pa.string()),
    ("jaccard", pa.float64()),
])  # fmt: skip
"""The columns of `clusters.parquet`."""


@dataclass(frozen=True)
class Result:
    """What was found, and where it was written."""

    summary: dict[str, Any]
    out: Path

    @property
    def clusters(self) -> pa.Table:
        """The members of all clusters: the columns of `clusters.parquet`, read from there."""
        return pq.read_table(self.out / "clusters.parquet")


def deduplicate(
    data: Sequence[str],
    *,
    out: Path | None = None,
    method: Literal["exact", "minhash"] = "minhash",
    adapter: str | None = None,
    mirror: Path | None = None,
    threads: int | None = None,
    bad_rows: Literal["stop", "skip"] = "stop",
    force: bool = False,
    progress: Progress | None = None,
    **settings: Any,
) -> Result:
    """Find rows that are equal or nearly so, within and across data sets, and write the data without them.

    Args:
        data: paths, globs or `hf:ORG/NAME`; compared with each other as well.
        out: a new folder for the results; `deduplicated` unless given.
        method: `minhash` finds nearly equal rows, `exact` equal ones.
        adapter: the shape of all the data, where it is not to be told from its columns.
        mirror: a folder that stands in for the Hugging Face Hub.
        threads: how many to use; as many as there are cores unless given.
        bad_rows: whether a row that cannot be used stops the run, or is set aside in `bad_rows.parquet`.
        force: replace an existing `out`.
        progress: who is told how far the work is.
        settings: those of the operator (`exact_dedup` or `minhash`): `by`, `keep`, `threshold`, …

    Raises:
        UsageError: a name does not exist, there is no data, or its kinds cannot be compared.
        RecipeError: a setting is wrong.
        SourceError: a data set cannot be read.
        RowError: a row cannot be used, and `bad_rows` is `stop`.
        StoreError: `out` exists, or the disk is full.
    """
    step = _step(method, settings)
    if not data:
        raise UsageError("no data is named", expected="files, globs or hf:ORG/NAME")
    progress, out = progress or Progress(), out or Path("deduplicated")
    cores = threads or os.cpu_count() or 1
    named = [Data(one.name, one.spec, one.base, adapter) for one in named_data((d, Path.cwd()) for d in data)]
    for source in step.sources:
        if source not in (names := [one.name for one in named]):
            raise unknown("data set", source, names, where="sources")
    with new_folder(out, WRITTEN, force=force) as folder:
        opened = [open_data(one, mirror, skip_bad=bad_rows == "skip") for one in named]
        scratch = folder / "scratch"
        for name in ("clean", "dropped", "scratch"):
            (folder / name).mkdir()
        kind = common_kind(opened, step.by)
        reading = Reading(kind, _needed(step, kind), scratch, cores, bad_rows == "skip", progress)
        loaded = [load(one, number, reading) for number, one in enumerate(opened)]
        found = _clusters(
            step, loaded, Context(kind=kind, threads=cores, say=progress.say), scratch, progress
        )
        members = _members(loaded, found)
        pq.write_table(members, folder / "clusters.parquet", compression="zstd")
        gone = Gone.of(found)
        rejecting = next(op for op in step.plan() if isinstance(op, RejectDuplicates))
        for one in loaded:
            _write(one, gone, f"{rejecting.name}:{rejecting.reason}", folder, mirror, progress)
        shutil.rmtree(scratch)
        if reading.skip_bad:
            bad = ((one.data.name, bad) for one in loaded for bad in one.bad)
            pq.write_table(bad_rows_table(bad), folder / "bad_rows.parquet", compression="zstd")
        summary = _summary(step, kind, loaded, members, out)
        text = json.dumps(summary, indent=1, ensure_ascii=False) + "\n"
        (folder / "summary.json").write_text(text, encoding="utf-8")
    return Result(summary, out)


def _step(method: str, settings: dict[str, Any]) -> Deduplication:
    if method not in METHODS:
        raise UsageError(f"no method is named {method!r}", expected=f"one of: {', '.join(METHODS)}")
    step = Registry().make({"op": METHODS[method], **settings})
    assert isinstance(step, Deduplication)
    return step


def _folds(step: Deduplication) -> list[Fold]:
    return [part for part in step.plan() if isinstance(part, Fold)]


def _needed(step: Deduplication, kind: Kind) -> tuple[str, ...]:
    """The columns that the folds read, but for what every row has anyway."""
    read = dict.fromkeys(column for fold in _folds(step) for column in fold.reads(kind))
    return tuple(column for column in read if column not in {"id", "source", "row", "upstream_id"})


def _clusters(
    step: Deduplication, loaded: Sequence[Loaded], context: Context, scratch: Path, progress: Progress
) -> pa.Table:
    """Runs the folds one behind the other over all rows; the last one's artifact."""
    found = CLUSTERS.empty_table()
    for fold in _folds(step):
        found = _folded(fold, loaded, context, progress)
        path = scratch / f"{fold.name}.parquet"
        pq.write_table(found, path)
        context = replace(context, artifacts={**context.artifacts, fold.name: path})
    return found


def _folded(fold: Fold, loaded: Sequence[Loaded], context: Context, progress: Progress) -> pa.Table:
    state = fold.setup(context)

    def work(table: pa.Table) -> tuple[pa.Table, int]:
        return fold.partial(table, state), table.num_rows

    partials = [fold.nothing()]
    tables = (table for one in loaded for table in one.tables())
    with progress.task(fold.name.replace("_", " "), sum(map(len, loaded)), "rows") as task:
        for partial, rows in ordered_map(work, tables, context.threads):
            partials.append(partial)
            task.advance(rows)
    return fold.finish(pa.concat_tables(partials))


def _members(loaded: Sequence[Loaded], found: pa.Table) -> pa.Table:
    """The clusters with the place of every row."""
    wanted = {row: number for number, row in enumerate(found["id"].to_pylist())}
    dataset, rows, members = ([np.zeros(0, np.int64)] for _ in range(3))
    own = [pa.array([], pa.string())]
    for number, one in enumerate(loaded):
        for table in one.tables():
            member = np.array([wanted.get(row, -1) for row in table["id"].to_pylist()], np.int64)
            here = np.flatnonzero(member >= 0)
            members.append(member[here])
            dataset.append(np.full(len(here), number))
            rows.append(table["row"].to_numpy()[here])
            own += table["upstream_id"].take(pa.array(here)).chunks
    order = pa.array(np.argsort(np.concatenate(members)))
    names = pa.array([one.data.name for one in loaded], pa.string())
    columns = {
        "cluster": found["cluster"],
        "dataset": names.take(pa.array(np.concatenate(dataset)).take(order)),
        "row": pa.array(np.concatenate(rows)).take(order),
        "train_id": pa.chunked_array(own).take(order),
        "row_id": found["id"],
        "survivor": found["survivor"],
        "kept": pc.equal(found["id"], found["survivor"]),
        "rule": found["rule"],
        "jaccard": found["jaccard"],
    }
    return pa.table([columns[name] for name in MEMBERS.names], schema=MEMBERS)


def _write(
    one: Loaded, gone: Gone, verdict: str, folder: Path, mirror: Path | None, progress: Progress
) -> None:
    """Reads a data set again, and writes its rows to `clean/` and `dropped/` as they are there."""
    places = pa.chunked_array([gone.find(ids) for ids in one.ids], pa.int64()).combine_chunks()
    source = one.data.open(mirror)
    with ExitStack() as stack, progress.task(f"write {one.data.name}", source.nbytes) as task:
        clean, dropped = (
            stack.enter_context(closing(NativeWriter(folder / part / f"{one.data.name}.parquet")))
            for part in ("clean", "dropped")
        )
        for batch in source.batches(on_bad=SetAside(), batch_bytes=BATCH_BYTES):
            number = positions(one.numbers, batch.rows.to_numpy())
            native = batch.table.filter(pa.array(number >= 0))
            place = places.take(pa.array(number[number >= 0]))
            goes = pc.is_valid(place)
            clean.write(native.filter(pc.invert(goes)))
            if place.null_count < len(place):
                rows = told(native.filter(goes), gone, place.drop_null())
                dropped.write(_with_verdict(rows, verdict))
            task.advance(max(0, batch.position - task.done))


def _with_verdict(rows: pa.Table, verdict: str) -> pa.Table:
    if VERDICT in rows.column_names:
        rows = rows.drop_columns(VERDICT)
    return rows.append_column(VERDICT, pa.repeat(pa.scalar(verdict), rows.num_rows))


def _summary(
    step: Deduplication, kind: Kind, loaded: Sequence[Loaded], members: pa.Table, out: Path
) -> dict[str, Any]:
    """What `summary.json` says, and `--json` prints."""
    dropped = members.filter(pc.invert(members["kept"]))
    homes = members.filter(members["kept"])["dataset"]  # of the survivors, in the order of the clusters
    survivors = homes.take(dropped["cluster"])
    pairs = pa.table({"dataset": dropped["dataset"], "of": survivors}).group_by(["dataset", "of"])
    repeats = pairs.aggregate([([], "count_all")]).sort_by([("dataset", "ascending"), ("of", "ascending")])
    gone = {one.data.name: 0 for one in loaded}
    for pair in repeats.to_pylist():
        gone[pair["dataset"]] += pair["count_all"]
    sizes = members["cluster"].value_counts().field("counts") if members.num_rows else pa.array([0])
    return {
        "method": step.name,
        "settings": step.model_dump(mode="json"),
        "kind": kind,
        "tulu_data": __version__,
        "out": str(out),
        "datasets": [
            {
                "dataset": one.data.name,
                "from": one.data.spec.from_,
                "rows": len(one),
                "kept": len(one) - gone[one.data.name],
                "dropped": gone[one.data.name],
                "bad": len(one.bad),
            }
            for one in loaded
        ],
        "clusters": len(members["cluster"].unique()),
        "largest_cluster": pc.max(sizes).as_py(),
        "repeats": [
            {"dataset": pair["dataset"], "of": pair["of"], "rows": pair["count_all"]}
            for pair in repeats.to_pylist()
        ],
    }
