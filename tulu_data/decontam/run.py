"""`decontaminate`: scans training data for a suite's items, and writes it without the rows that repeat them.

out/
clean/NAME.parquet      the rows that stay, with all their native columns
dropped/NAME.parquet    the rows that matched, with a verdict
matches.parquet         one row per finding, with the evidence
report.html             the review page: every finding beside its item, and what to do with it
certificate.json, .html what was checked, and what of a planted sample was found again
bad_rows.parquet        rows that could not be used, where they were skipped
summary.json            every dataset against every eval
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from tulu_data import __version__
from tulu_data.decontam.cache.scans import CachedFindings
from tulu_data.decontam.cache.store import Cache
from tulu_data.decontam.certificate import Certificate, DatasetTold, certify
from tulu_data.decontam.check import check_suite
from tulu_data.decontam.data import data_to_scan
from tulu_data.decontam.evidence import MATCHES
from tulu_data.decontam.index import tell_first_compilation
from tulu_data.decontam.items import SuiteItems, read_items
from tulu_data.decontam.planting import PLANTS, measure
from tulu_data.decontam.policy import Cell
from tulu_data.decontam.review.decisions import load_decisions
from tulu_data.decontam.review.page import Head, write_report
from tulu_data.decontam.review.texts import RowTexts
from tulu_data.decontam.rules import Action
from tulu_data.decontam.rules import Kind as FindingKind
from tulu_data.decontam.scan import Scan, Scanned, scan
from tulu_data.decontam.suite import load_suite
from tulu_data.errors import SourceError, UsageError, nearest
from tulu_data.progress import Progress
from tulu_data.record import ROLES
from tulu_data.sources.batch import bad_rows_table
from tulu_data.sources.output import new_folder
from tulu_data.workspace import Workspace

MATCHED = 3
"""Exit status where something matched."""

WRITTEN = {
    "clean", "dropped", "matches.parquet", "report.html", "certificate.json", "certificate.html",
    "bad_rows.parquet", "summary.json",
}  # fmt: skip
"""What a result's folder holds; `--force` replaces no folder that holds anything else."""


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
    certificate: Certificate
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
        """0 where nothing matched or is to be reviewed, else 3."""
        touched = any(cell["rows_flagged"] or cell["rows_to_review"] for cell in self.summary["cells"])
        return MATCHED if touched else 0

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


def decontaminate(
    against: str | Path,
    data: Sequence[str] = (),
    *,
    out: Path | None = None,
    roles: str | Sequence[str] = "user",
    rule: str | None = None,
    actions: Mapping[FindingKind, Action] | None = None,
    decisions: Path | None = None,
    plants: int = PLANTS,
    seed: int = 42,
    cache: bool = True,
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
        rule: a preset, or a rule's file, that wins over the suite's own rule.
        actions: what becomes of rows by the kind of a finding, where it is not as the rule says.
        decisions: a file that the review page saved; wins over the actions.
        plants: how many items of each eval are planted in each way for the certificate; 0 plants nothing.
        seed: which items, and which rows carry them.
        cache: whether indexes and scans of earlier runs are used, and those of this one kept.
        adapter: the shape of all the data, where it is not to be told from its columns.
        all_recipes: scan the sources of every recipe in the workspace.
        workspace: where names are looked up; the current folder unless given.
        mirror: a folder that stands in for the Hugging Face Hub.
        threads: how many to use; as many as there are cores unless given.
        bad_rows: whether a row that cannot be used stops the run, or is set aside in `bad_rows.parquet`.
        force: replace an existing `out`.
        progress: who is told how far the work is.

    Raises:
        UsageError: a name, role or adapter does not exist, there is nothing to scan, or the decisions are not
            about this run.
        RecipeError: the suite is wrong.
        SourceError: an eval or a dataset cannot be read, or an eval is not as the suite says.
        RowError: a row cannot be used, and `bad_rows` is `stop`.
        StoreError: `out` exists, or the disk is full.
    """
    workspace, progress = workspace or Workspace.here(), progress or Progress()
    suite = load_suite(against, workspace, base=Path.cwd(), rule=rule, actions=actions)
    wanted = role_list(roles)
    scans = data_to_scan(data, suite, workspace, adapter=adapter, all_recipes=all_recipes)
    decided = load_decisions(decisions, suite=suite.name) if decisions else None
    out = out or Path("decontaminated") / suite.name
    with new_folder(out, WRITTEN, force=force) as folder:
        opened = [(item, item.open(mirror)) for item in scans]  # what is missing is told before the long work
        for name in ("clean", "dropped"):
            (folder / name).mkdir()
        tell_first_compilation(progress.say)
        kept = Cache.open(progress.say) if cache else None
        items = read_items(suite, mirror=mirror, progress=progress, cache=kept)
        warnings = [str(problem) for problem in check_suite(items)]
        for warning in warnings:
            progress.say(f"warning: {warning}")
        with RowTexts(folder / ".texts.arrow") as texts:
            find = CachedFindings(kept, items, wanted)
            with pq.ParquetWriter(folder / "matches.parquet", MATCHES, compression="zstd") as matches:
                run = Scan(
                    items, wanted, find, decided, threads or os.cpu_count() or 1, bad_rows == "skip", seed,
                    progress, matches, texts,
                )  # fmt: skip
                scanned = [scan(run, item, source, folder) for item, source in opened]
            _set_bad_aside(run, scanned, folder)
            certificate = _certify(run, scanned, plants)
            certificate.write(folder)
            table = run.tally.cells([s.data.name for s in scanned], items)
            fingerprint = _report(run, scanned, table, certificate, warnings, out, folder)
        told = decided.told(fingerprint) if decided else None
        if saved := str(find.counts):
            progress.say(saved)
        summary = _summary(run, scanned, table, out) | {
            "certificate": {"status": certificate.status, "statement": certificate.statement},
            "run": fingerprint,
            "decisions": told,
            "warnings": warnings,
        }
        (folder / "summary.json").write_text(
            json.dumps(summary, indent=1, ensure_ascii=False) + "\n", encoding="utf-8"
        )
    first = pa.concat_tables([MATCHES.empty_table(), *run.first])
    return Result(summary, out, certificate, first, items, run.shown)


def _set_bad_aside(run: Scan, scanned: Sequence[Scanned], folder: Path) -> None:
    """Writes the rows that could not be used; a dataset without any other is an error."""
    if run.skip_bad:
        told = [(s.data.name, bad) for s in scanned for bad in s.bad]
        pq.write_table(bad_rows_table(told), folder / "bad_rows.parquet", compression="zstd")
    for done in scanned:
        if done.bad and not done.rows:
            raise SourceError(
                f"none of its {len(done.bad):,} rows could be used", where=done.data.spec.from_,
                remedy=f"The first: {done.bad[0].where}: {done.bad[0].reason}",
            )  # fmt: skip


def _certify(run: Scan, scanned: Sequence[Scanned], plants: int) -> Certificate:
    """Plants the control, and certifies what was checked."""
    if plants:
        run.progress.say("planting items of the suite into copies of rows, to see what is found again")
    kinds = sorted({done.kind for done in scanned})
    measured = measure(run.suite, run.roles, run.hosts, kinds=kinds, seed=run.seed, plants=plants)
    datasets = [
        DatasetTold.model_validate({
            "dataset": done.data.name, "from": done.data.spec.from_, "kind": done.kind, "rows": done.rows,
            "kept": done.kept, "dropped": done.rows - done.kept,
            "kept_with_findings": done.kept_with_findings, "bad": len(done.bad),
            "revision": done.source.lock().revision, "sha256": done.digest,
        })
        for done in scanned
    ]  # fmt: skip
    decided = run.decisions.certified() if run.decisions else None
    return certify(run.suite, measured, datasets, run.roles, decisions=decided)


def _report(
    run: Scan,
    scanned: Sequence[Scanned],
    table: Sequence[Cell],
    certificate: Certificate,
    warnings: Sequence[str],
    out: Path,
    folder: Path,
) -> str:
    """Writes the review page; returns the fingerprint of the run."""
    head = Head(
        title=str(out),
        datasets={done.data.name: done.rows for done in scanned},
        roles=run.roles,
        contaminated=[(cell.dataset, cell.eval) for cell in table if cell.contaminated],
        warnings=warnings,
    )
    return write_report(
        folder / "report.html", head=head, matches=folder / "matches.parquet", texts=run.texts,
        suite=run.suite, certificate=certificate.told(), decisions=run.decisions, threads=run.threads,
    )  # fmt: skip


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


def _summary(run: Scan, scanned: Sequence[Scanned], table: Sequence[Cell], out: Path) -> dict[str, Any]:
    """What `summary.json` says, and `--json` prints."""
    suite = run.suite
    return {
        "suite": suite.suite.name,
        "rule": suite.suite.rule.model_dump(mode="json"),
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
                "kept_with_findings": s.kept_with_findings,
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
                "verdict": cell.verdict,
                "rows_flagged": cell.rows,
                "rows_to_review": cell.review,
                "rows_kept": cell.kept,
            }
            for cell in table
        ],
    }
