"""`decontaminate`: scans training data for a suite's items, and writes it without the rows that repeat them.

out/
clean/NAME.parquet      the rows that stay, with all their native columns
dropped/NAME.parquet    the rows that matched, with a verdict
matches.parquet         one row per finding, with the evidence
bad_rows.parquet        rows that could not be used, where they were skipped
summary.json            every dataset against every eval
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from tulu_data import __version__
from tulu_data.decontam.check import check_suite
from tulu_data.decontam.data import Data, data_to_scan
from tulu_data.decontam.evidence import MATCHES, dropped_for, explode, findings_of
from tulu_data.decontam.index import tell_first_compilation
from tulu_data.decontam.items import SuiteItems, read_items
from tulu_data.decontam.output import NativeWriter, new_folder
from tulu_data.decontam.policy import Cell, Tally
from tulu_data.decontam.suite import load_suite
from tulu_data.engine import BATCH_BYTES, ordered_map
from tulu_data.errors import SourceError, UsageError, nearest
from tulu_data.progress import Progress
from tulu_data.record import ROLES, VERDICT, Kind, content_hashes, row_ids
from tulu_data.sources import BadRow, Batch, SetAside, stop
from tulu_data.sources.adapters import Adapter, adapt, detect, get
from tulu_data.sources.batch import bad_rows_table
from tulu_data.turns import one_chunk
from tulu_data.workspace import Workspace

MATCHED = 3
"""Exit status where something matched."""

SHOWN = 1000
"""So many flagged rows stay in memory, for those who want to see a finding beside its row."""


class Passage(NamedTuple):
    """One side of a finding: a text with its marked characters."""

    title: str
    text: str
    spans: list[tuple[int, int]]


@dataclass(frozen=True)
class Result:
    """What was found, and what was written."""

    summary: dict[str, Any]
    out: Path
    first_findings: pa.Table
    """The findings of the first flagged rows, whose texts `text_of` knows."""
    _suite: SuiteItems
    _rows: dict[str, dict[str, Any]]

    @property
    def findings(self) -> pa.Table:
        """All findings: the columns of `matches.parquet`, read from there."""
        return pq.read_table(self.out / "matches.parquet")

    @property
    def exit_status(self) -> int:
        """0 where nothing matched, else 3."""
        return MATCHED if self.first_findings.num_rows else 0

    def text_of(self, finding: dict[str, Any]) -> tuple[Passage, Passage]:
        """A finding's two sides: the message of the row, and the field of the item, that match most.

        Raises:
            KeyError: the row is not among the first flagged ones, whose text was kept.
        """
        row = self._rows[finding["row_id"]]
        places: dict[tuple[str, int], list[tuple[int, int]]] = {}
        for span in finding["train_spans"]:
            places.setdefault((span["column"], span["message"]), []).append((span["start"], span["end"]))
        (column, number), spans = max(places.items(), key=lambda place: sum(b - a for a, b in place[1]))
        value = row[column]
        text = value if isinstance(value, str) else value[number]["content"]
        speaker = column if isinstance(value, str) else f"{value[number]['role']} message {number}"
        title = f"{finding['dataset']} row {row['row']}, {speaker}"
        return Passage(title, text, spans), self._item(finding)

    def _item(self, finding: dict[str, Any]) -> Passage:
        fields: dict[str, list[tuple[int, int]]] = {}
        for span in finding["item_spans"]:
            fields.setdefault(span["field"], []).append((span["start"], span["end"]))
        name, spans = max(fields.items(), key=lambda f: sum(b - a for a, b in f[1]))
        part = next(part for part in self._suite.evals if part.eval.name == finding["eval"])
        slot = [f.name for f in part.eval.fields].index(name)
        return Passage(
            f"{finding['eval']} item {finding['item_id']}, {name}",
            part.texts[slot][part.ids.index(finding["item_id"])],
            spans,
        )


@dataclass
class _Scanned:
    """One dataset, scanned."""

    data: Data
    rows: int = 0
    kept: int = 0
    bad: list[BadRow] = field(default_factory=list)


@dataclass(frozen=True)
class _Piece:
    """One batch, scanned."""

    clean: pa.Table
    flagged: pa.Table
    adapted: pa.Table
    findings: pa.Array
    bad: list[BadRow]
    position: int
    rows: int


@dataclass(frozen=True)
class _Run:
    suite: SuiteItems
    roles: tuple[str, ...] | None
    mirror: Path | None
    threads: int
    skip_bad: bool
    progress: Progress
    matches: pq.ParquetWriter
    tally: Tally = field(default_factory=Tally)
    first: list[pa.Table] = field(default_factory=list)
    shown: dict[str, dict[str, Any]] = field(default_factory=dict)


def decontaminate(
    against: str | Path,
    data: Sequence[str] = (),
    *,
    out: Path | None = None,
    roles: str | Sequence[str] = "user",
    rule: str | None = None,
    adapter: str | None = None,
    all_recipes: bool = False,
    workspace: Workspace | None = None,
    mirror: Path | None = None,
    threads: int | None = None,
    bad_rows: Literal["stop", "skip"] = "stop",
    force: bool = False,
    progress: Progress | None = None,
) -> Result:
    """Scan training data for the items of a suite, and write it without the rows that repeat them.

    Args:
        against: a suite, by name or as a path to a .yaml file.
        data: paths, globs or `hf:ORG/NAME`; the suite's `train:` list if empty.
        out: a new folder for the results; `decontaminated/SUITE` unless given.
        roles: whose messages are looked at: `user`, `all`, or a list of roles.
        rule: a preset that wins over the suite's own rule.
        adapter: the shape of all the data, where it is not to be told from its columns.
        all_recipes: scan the sources of every recipe in the workspace.
        workspace: where names are looked up; the current folder unless given.
        mirror: a folder that stands in for the Hugging Face Hub.
        threads: how many to use; as many as there are cores unless given.
        bad_rows: whether a row that cannot be used stops the run, or is set aside in `bad_rows.parquet`.
        force: replace an existing `out`.
        progress: who is told how far the work is.

    Raises:
        UsageError: a name, role or adapter does not exist, or there is nothing to scan.
        RecipeError: the suite is wrong.
        SourceError: an eval or a dataset cannot be read, or an eval is not as the suite says.
        RowError: a row cannot be used, and `bad_rows` is `stop`.
        StoreError: `out` exists, or the disk is full.
    """
    workspace, progress = workspace or Workspace.here(), progress or Progress()
    suite = load_suite(against, workspace, base=Path.cwd(), rule=rule)
    wanted = role_list(roles)
    scans = data_to_scan(data, suite, workspace, adapter=adapter, all_recipes=all_recipes)
    out = out or Path("decontaminated") / suite.name
    with new_folder(out, force=force) as folder:
        opened = [(item, item.open(mirror)) for item in scans]  # what is missing is told before the long work
        for name in ("clean", "dropped"):
            (folder / name).mkdir()
        tell_first_compilation(progress.say)
        items = read_items(suite, mirror=mirror, progress=progress)
        warnings = [str(problem) for problem in check_suite(items)]
        for warning in warnings:
            progress.say(f"warning: {warning}")
        with pq.ParquetWriter(folder / "matches.parquet", MATCHES, compression="zstd") as matches:
            cores = threads or os.cpu_count() or 1
            run = _Run(items, wanted, mirror, cores, bad_rows == "skip", progress, matches)
            scanned = [_scan(run, item, source, folder) for item, source in opened]
        told = [(s.data.name, bad) for s in scanned for bad in s.bad]
        if run.skip_bad:
            pq.write_table(bad_rows_table(told), folder / "bad_rows.parquet", compression="zstd")
        for scan in scanned:
            if scan.bad and not scan.rows:
                raise SourceError(
                    f"none of its {len(scan.bad):,} rows could be used", where=scan.data.spec.from_,
                    remedy=f"The first: {scan.bad[0].where}: {scan.bad[0].reason}",
                )  # fmt: skip
        table = run.tally.cells([s.data.name for s in scanned], items)
        summary = _summary(run, scanned, table, out) | {"warnings": warnings}
        (folder / "summary.json").write_text(
            json.dumps(summary, indent=1, ensure_ascii=False) + "\n", encoding="utf-8"
        )
    return Result(summary, out, pa.concat_tables([MATCHES.empty_table(), *run.first]), items, run.shown)


def role_list(roles: str | Sequence[str]) -> tuple[str, ...] | None:
    """The roles to look at; None for everyone's.

    >>> role_list("user"), role_list("all"), role_list(["user", "assistant"])
    (('user',), None, ('user', 'assistant'))
    """
    if roles == "all":
        return None
    listed = (roles,) if isinstance(roles, str) else tuple(role.strip() for role in roles)
    if not listed:
        raise UsageError("no role is named to look at", expected=f"all, or some of: {', '.join(ROLES)}")
    if "all" in listed:
        raise UsageError("'all' stands alone: it takes in every role")
    for role in listed:
        if role not in ROLES:
            known = ("all", *ROLES)
            raise UsageError(
                f"no role is named {role!r}",
                expected=f"one of: {', '.join(known)}",
                nearest=nearest(role, known),
            )
    return listed


def _scan(run: _Run, data: Data, source: Any, folder: Path) -> _Scanned:
    """Scans one dataset and writes its clean and its dropped rows."""
    done, seen = _Scanned(data), Counter[bytes]()
    unreadable = SetAside()
    batches = source.batches(on_bad=unreadable if run.skip_bad else stop, batch_bytes=BATCH_BYTES)
    work = _Worker(run, data)
    with (
        _writer(folder / "clean" / f"{data.name}.parquet") as clean,
        _writer(folder / "dropped" / f"{data.name}.parquet") as dropped,
        run.progress.task(f"scan {data.name}", source.nbytes) as task,
    ):
        for piece in ordered_map(work, work.first_seen(batches), run.threads):
            clean.write(piece.clean)
            done.rows += piece.rows
            done.kept += piece.clean.num_rows
            done.bad += piece.bad
            if piece.flagged.num_rows:
                dropped.write(piece.flagged)
            if piece.adapted.num_rows:
                _record(run, data, piece, work.kind, seen)
            task.advance(max(0, piece.position - task.done))
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

    def __init__(self, run: _Run, data: Data) -> None:
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
        findings = findings_of(rows, self.kind, self.run.roles, self.run.suite)
        hit = pc.is_valid(findings)
        native = _without_bad(batch, rows)
        reason = pc.binary_join_element_wise("decontaminate", dropped_for(findings), ":")
        drop = pc.is_valid(reason)
        flagged = native.filter(drop).append_column(VERDICT, reason.drop_null())
        clean = native if not flagged.num_rows else native.filter(pc.invert(drop))
        return _Piece(
            clean,
            flagged,
            rows.filter(hit),
            findings.filter(hit),
            aside.rows,
            batch.position,
            native.num_rows,
        )


def _without_bad(batch: Batch, rows: pa.Table) -> pa.Table:
    """The native rows that the adapter could use."""
    if rows.num_rows == batch.table.num_rows:
        return batch.table
    return batch.table.filter(pc.is_in(batch.rows, one_chunk(rows["row"])))


def _record(run: _Run, data: Data, piece: _Piece, kind: Kind, seen: Counter[bytes]) -> None:
    """Writes and counts the findings of a batch with the ids of their rows; keeps the first for showing.

    Rows of equal content have equal findings, so counting occurrences among the flagged rows counts them all.
    """
    hashes = content_hashes(piece.adapted, kind)
    occurrences = []
    for digest in hashes.to_pylist():
        occurrences.append(seen[digest])
        seen[digest] += 1
    ids = row_ids(data.name, hashes, pa.array(occurrences, pa.int64()))
    names = pa.array([data.name] * len(ids), pa.string())
    found = [names, one_chunk(piece.adapted["upstream_id"]), ids, piece.findings]
    matches = explode(*found)
    run.matches.write_table(matches)
    run.tally.add(matches)
    shown = min(len(ids), SHOWN - len(run.shown))
    if shown > 0:
        run.first.append(explode(*(column.slice(0, shown) for column in found)))
        run.shown.update(zip(ids[:shown].to_pylist(), piece.adapted.slice(0, shown).to_pylist(), strict=True))


def _summary(run: _Run, scanned: list[_Scanned], table: list[Cell], out: Path) -> dict[str, Any]:
    """What `summary.json` says, and `--json` prints."""
    suite = run.suite
    return {
        "suite": suite.suite.name,
        "rule": suite.suite.rule.model_dump(),
        "roles": "all" if run.roles is None else list(run.roles),
        "tulu_data": __version__,
        "out": str(out),
        "datasets": [
            {
                "dataset": s.data.name,
                "from": s.data.spec.from_,
                "rows": s.rows,
                "kept": s.kept,
                "dropped": s.rows - s.kept,
                "bad": len(s.bad),
            }
            for s in scanned
        ],
        "evals": [
            {
                "eval": part.eval.name,
                "role": part.eval.role,
                "from": part.eval.from_,
                "revision": part.lock.revision,
                "split": part.eval.split,
                "items": len(part.ids),
                "unchecked": suite.unchecked(part),
            }
            for part in suite.evals
        ],
        "cells": [
            {
                "dataset": cell.dataset,
                "eval": cell.eval,
                "role": cell.role,
                "items": cell.items,
                "matched": cell.matched,
                "percent": round(cell.percent, 2),
                "verdict": "contaminated" if cell.contaminated else "matches" if cell.matched else "no match",
                "rows_flagged": cell.rows,
                "rows_to_review": cell.review,
            }
            for cell in table
        ],
    }
