"""Scanning datasets: batches are adapted and searched in threads, and written in their order by one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from tulu_data.decontam.cache.scans import CachedFindings
from tulu_data.decontam.data import Data
from tulu_data.decontam.evidence import dropped_for, explode
from tulu_data.decontam.items import SuiteItems
from tulu_data.decontam.planting import Hosts, row_keys
from tulu_data.decontam.policy import Tally
from tulu_data.decontam.review.decisions import Decisions
from tulu_data.decontam.review.texts import RowTexts
from tulu_data.decontam.scan_digest import ScanDigest
from tulu_data.engine import BATCH_BYTES, ordered_map
from tulu_data.progress import Progress
from tulu_data.record import VERDICT, Kind, content_hashes, row_ids
from tulu_data.sources import BadRow, Batch, SetAside, stop
from tulu_data.sources.adapters import Adapter, adapt, detect, get
from tulu_data.sources.output import NativeWriter
from tulu_data.turns import one_chunk

SHOWN = 1000
"""So many flagged rows stay in memory, for those who want to see a finding beside its row."""


@dataclass(frozen=True)
class Scan:
    """What the scans of a run share, and what they leave behind."""

    suite: SuiteItems
    roles: tuple[str, ...] | None
    find: CachedFindings
    decisions: Decisions | None
    threads: int
    skip_bad: bool
    seed: int
    progress: Progress
    matches: pq.ParquetWriter
    texts: RowTexts
    hosts: Hosts = field(default_factory=Hosts)
    tally: Tally = field(default_factory=Tally)
    first: list[pa.Table] = field(default_factory=list)
    shown: dict[str, dict[str, Any]] = field(default_factory=dict)


@dataclass
class Scanned:
    """One dataset, scanned."""

    data: Data
    source: Any
    kind: Kind = "sft"
    rows: int = 0
    kept: int = 0
    kept_with_findings: int = 0
    bad: list[BadRow] = field(default_factory=list)
    digest: str = ""


@dataclass(frozen=True)
class _Piece:
    """One batch, scanned."""

    native: pa.Table
    rows: pa.Table
    findings: pa.Array
    bad: list[BadRow]
    position: int


def scan(run: Scan, data: Data, source: Any, folder: Path) -> Scanned:
    """Scans one dataset, and writes its clean and its dropped rows into `folder`."""
    done, writing = Scanned(data, source), _Writing(run, data)
    unreadable = SetAside()
    batches = source.batches(on_bad=unreadable if run.skip_bad else stop, batch_bytes=BATCH_BYTES)
    work = _Worker(run, data)
    digest: ScanDigest | None = None
    with (
        _writer(folder / "clean" / f"{data.name}.parquet") as clean,
        _writer(folder / "dropped" / f"{data.name}.parquet") as dropped,
        run.progress.task(f"scan {data.name}", source.nbytes) as task,
    ):
        for piece in ordered_map(work, work.first_seen(batches), run.threads):
            digest = digest or ScanDigest(work.kind)
            digest.add(piece.rows)
            reasons, touched = writing.record(piece, work.kind)
            drop = pc.is_valid(reasons)
            flagged = piece.native.filter(drop).append_column(VERDICT, reasons.drop_null())
            kept = piece.native if not flagged.num_rows else piece.native.filter(pc.invert(drop))
            clean.write(kept)
            if flagged.num_rows:
                dropped.write(flagged)
            done.rows += piece.native.num_rows
            done.kept += kept.num_rows
            done.kept_with_findings += touched - flagged.num_rows
            done.bad += piece.bad
            task.advance(max(0, piece.position - task.done))
    done.kind = work.kind if digest else "sft"
    done.digest = (digest or ScanDigest(done.kind)).hexdigest()
    done.bad = sorted([*unreadable.rows, *done.bad], key=lambda bad: bad.where.row or 0)
    return done


@contextmanager
def _writer(path: Path) -> Iterator[NativeWriter]:
    writer = NativeWriter(path)
    try:
        yield writer
    finally:
        writer.close()


class _Worker:
    """Adapts and scans the batches of one dataset; the first one tells its shape."""

    def __init__(self, run: Scan, data: Data) -> None:
        self.run, self.data = run, data
        self.adapter: Adapter | None = get(data.adapter) if data.adapter else None

    @property
    def kind(self) -> Kind:
        """What the rows are: the adapter's natural kind."""
        assert self.adapter is not None
        return self.adapter.kinds[0]

    def first_seen(self, batches: Iterator[Batch]) -> Iterator[Batch]:
        """The batches as they are, the adapter chosen by the first."""
        for batch in batches:
            if self.adapter is None:
                self.adapter = detect(batch.table, where=self.data.spec.from_)
            yield batch

    def __call__(self, batch: Batch) -> _Piece:
        """Scans one batch; runs in a thread."""
        assert self.adapter is not None
        aside = SetAside()
        rows = adapt(batch, self.adapter, self.kind, on_bad=aside if self.run.skip_bad else stop).rows
        findings = self.run.find(rows, self.kind, self.data.name)
        numbers = one_chunk(rows["row"]).to_numpy(zero_copy_only=False)
        self.run.hosts.add(self.kind, rows, row_keys(self.run.seed, self.data.name, numbers))
        return _Piece(_without_bad(batch, rows), rows, findings, aside.rows, batch.position)


def _without_bad(batch: Batch, rows: pa.Table) -> pa.Table:
    """The native rows that the adapter could use."""
    if rows.num_rows == batch.table.num_rows:
        return batch.table
    return batch.table.filter(pc.is_in(batch.rows, one_chunk(rows["row"])))


class _Writing:
    """Gives the flagged rows of one dataset their ids, applies decisions, and records what was found."""

    def __init__(self, run: Scan, data: Data) -> None:
        self.run, self.data = run, data
        self._seen: Counter[bytes] = Counter()

    def record(self, piece: _Piece, kind: Kind) -> tuple[pa.Array, int]:
        """For each row of the batch the verdict, null where it stays; and how many rows have findings."""
        hit = pc.is_valid(piece.findings)
        adapted, findings = piece.rows.filter(hit), piece.findings.filter(hit)
        reasons = pa.nulls(len(piece.findings), pa.string())
        if not len(findings):
            return reasons, 0
        ids = self._ids(adapted, kind)
        if self.run.decisions is not None:
            findings = self.run.decisions.apply(ids, findings)
        self._keep(ids, adapted, findings)
        places: npt.NDArray[np.bool_] = hit.to_numpy(zero_copy_only=False)
        found = pc.binary_join_element_wise("decontaminate", dropped_for(findings), ":")
        return pc.replace_with_mask(reasons, pa.array(places), found), len(findings)

    def _ids(self, rows: pa.Table, kind: Kind) -> pa.Array:
        """Rows of equal content have equal findings: counting occurrences among flagged ones counts all."""
        hashes = content_hashes(rows, kind)
        occurrences = []
        for digest in hashes.to_pylist():
            occurrences.append(self._seen[digest])
            self._seen[digest] += 1
        return row_ids(self.data.name, hashes, pa.array(occurrences, pa.int64()))

    def _keep(self, ids: pa.Array, rows: pa.Table, findings: pa.Array) -> None:
        """Writes and counts the findings; keeps the first for showing."""
        run = self.run
        names = pa.array([self.data.name] * len(ids), pa.string())
        found = [names, one_chunk(rows["upstream_id"]), ids, findings]
        matches = explode(*found)
        run.matches.write_table(matches)
        run.tally.add(matches)
        run.texts.append(ids, rows, findings)
        shown = min(len(ids), SHOWN - len(run.shown))
        if shown > 0:
            run.first.append(explode(*(column.slice(0, shown) for column in found)))
            run.shown.update(zip(ids[:shown].to_pylist(), rows.slice(0, shown).to_pylist(), strict=True))
