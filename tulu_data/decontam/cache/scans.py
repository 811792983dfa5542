"""Scanning only what was not scanned before: the findings of each eval in each batch, kept by content.

A batch of training rows that was scanned for an eval, by the same rule and the same code, is not scanned for
it again: its findings are read. What is left is scanned for the evals that are left alone, with a matcher
made for these; then both are put together in the order of a full scan: by row, then by the suite's items.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from threading import Lock
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from tulu_data.decontam.cache.batches import batch_key
from tulu_data.decontam.cache.keys import code_key, eval_key, joined_key
from tulu_data.decontam.cache.store import Cache, Entry
from tulu_data.decontam.evidence import FINDING, findings_of
from tulu_data.decontam.items import SuiteItems
from tulu_data.decontam.rules import ACTIONS, Rule
from tulu_data.record import Kind

MATCHERS = 4
"""So many sets of evals get a matcher of their own; batches that lack others are scanned for all."""

KEPT = pa.schema([("row", pa.int32()), ("eval", pa.int32()), ("finding", FINDING)])
"""What an entry holds; `eval` counts among those that its header names."""

_WRITE = pa.ipc.IpcWriteOptions(compression="zstd", use_threads=False)

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class _Part:
    """Some findings of a batch: their rows, the places of their evals in the suite, and themselves."""

    rows: Ints
    evals: Ints
    findings: pa.Array


@dataclass
class Counts:
    """What was scanned, and what was known."""

    batches: int = 0
    kept: int = 0
    """Batches that needed no scan."""
    partly: int = 0
    """Batches that were scanned for some evals only."""
    scanned: Counter[str] = field(default_factory=Counter)
    """For each eval, how many batches were scanned for it."""

    def told(self) -> dict[str, Any]:
        """As `summary.json` has it."""
        return {
            "batches": self.batches,
            "kept": self.kept,
            "partly_scanned": self.partly,
            "scanned": self.batches - self.kept - self.partly,
            "scanned_by_eval": dict(sorted(self.scanned.items())),
        }

    def __str__(self) -> str:
        """What an earlier run saved, in a line; empty where it saved nothing.

        >>> str(Counts(batches=66, kept=60, partly=4))
        '60 of 66 batches were known from earlier runs, 4 were scanned for new evals only, 2 for all'
        """
        if not self.kept + self.partly:
            return ""
        full = self.batches - self.kept - self.partly
        return (
            f"{self.kept:,} of {self.batches:,} batches were known from earlier runs, "
            f"{self.partly:,} were scanned for new evals only, {full:,} for all"
        )


class CachedFindings:
    """`findings_of` for one suite and some roles, that remembers; may be called by many threads at once."""

    def __init__(self, cache: Cache | None, suite: SuiteItems, roles: Sequence[str] | None) -> None:
        """With None for the cache, everything is scanned and nothing kept."""
        self.cache, self.suite, self.roles = cache, suite, roles
        self.counts = Counts()
        self._lock = Lock()
        self._suites: dict[tuple[int, ...], SuiteItems] = {tuple(range(len(suite.evals))): suite}

    @cached_property
    def _keys(self) -> list[str]:
        """What each eval's findings are kept under; where they hang on the other evals, on these too."""
        rule = self.suite.suite.rule
        keys = [eval_key(part, rule) for part in self.suite.evals]
        if rule.independent:
            return keys
        return [joined_key([key, *keys]) for key in keys]

    def __call__(self, batch: pa.Table, kind: Kind, dataset: str = "") -> pa.Array:
        """For each row of a batch the list of its findings, as `findings_of` gives them.

        Args:
            batch: rows with the columns of `scanned_columns(kind)`.
            kind: of the rows.
            dataset: what the listing says the batch is of.
        """
        if self.cache is None or not batch.num_rows:
            return findings_of(batch, kind, self.roles, self.suite)
        key = batch_key(batch, kind, self.roles)
        known, missing = self._look_up(self.cache, key)
        if not missing:
            self._count((), known)
            return _merged(known, batch.num_rows)
        suite, numbers = self._suite_of(missing)
        if len(numbers) == len(self.suite.evals):
            known = []
        self._count(numbers, known)
        scanned = findings_of(batch, kind, self.roles, suite)
        found = self._flat(scanned)
        self._keep(
            self.cache, key, numbers, found, {"dataset": dataset, "rows": batch.num_rows, "kind": kind}
        )
        return _merged([*known, found], batch.num_rows) if known else scanned

    # -- what is known -------------------------------------------------------------------------------

    def _look_up(self, cache: Cache, key: str) -> tuple[list[_Part], tuple[int, ...]]:
        """What is kept of a batch, and the places of the evals that it was not scanned for."""
        missing = {eval_: number for number, eval_ in enumerate(self._keys)}
        known = []
        for path in cache.under("scans", key):
            if not missing:
                break
            entry = cache.read(path)
            if entry is not None and (part := _of_entry(entry, missing, self.suite.suite.rule)):
                known.append(part)
        return known, tuple(missing.values())

    def _keep(
        self, cache: Cache, key: str, numbers: tuple[int, ...], found: _Part, header: dict[str, Any]
    ) -> None:
        """One entry for the evals that a batch was scanned for, found or not."""
        place = np.empty(len(self.suite.evals), np.int32)
        place[list(numbers)] = np.arange(len(numbers))
        columns = [pa.array(found.rows, pa.int32()), pa.array(place[found.evals]), found.findings]
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, KEPT, options=_WRITE) as writer:
            writer.write_table(pa.table(columns, schema=KEPT))
        keys = [self._keys[number] for number in numbers]
        path = cache.path("scans", key, joined_key(keys))
        about = {
            "suite": self.suite.suite.name,
            "roles": "all" if self.roles is None else ",".join(self.roles),
            "code": code_key(),
            "evals": [self.suite.evals[number].eval.name for number in numbers],
            "keys": keys,
            "findings": len(found.rows),
        }
        cache.write(path, {**header, **about}, [memoryview(sink.getvalue())])

    # -- what is not -------------------------------------------------------------------------------

    def _suite_of(self, missing: tuple[int, ...]) -> tuple[SuiteItems, tuple[int, ...]]:
        """The suite of these evals alone (of all, after too many other sets), and which they are."""
        with self._lock:
            if missing not in self._suites:
                if len(self._suites) > MATCHERS:
                    missing = next(iter(self._suites))
                else:
                    parts = tuple(self.suite.evals[number] for number in missing)
                    self._suites[missing] = replace(self.suite, evals=parts, cache=None)  # of use once
            suite = self._suites[missing]
            _ = suite.matcher  # made by one thread while the others wait
            return suite, missing

    def _flat(self, findings: pa.Array) -> _Part:
        rows = pc.list_parent_indices(findings).to_numpy(zero_copy_only=False).astype(np.int64)
        flat = findings.flatten()
        names = pa.array([part.eval.name for part in self.suite.evals], pa.string())
        evals = pc.index_in(pc.struct_field(flat, "eval"), names).to_numpy(zero_copy_only=False)
        return _Part(rows, evals.astype(np.int64), flat)

    def _count(self, numbers: tuple[int, ...], known: list[_Part]) -> None:
        with self._lock:
            self.counts.batches += 1
            self.counts.kept += not numbers
            self.counts.partly += bool(numbers and known)
            self.counts.scanned.update(self.suite.evals[number].eval.name for number in numbers)


def _of_entry(entry: Entry, missing: dict[str, int], rule: Rule) -> _Part | None:
    """What an entry knows of the evals that are missing; they are no longer missing then."""
    places = np.array([missing.pop(key, -1) for key in entry.header["keys"]], np.int64)
    if (places < 0).all():
        return None
    table = pa.ipc.open_stream(pa.py_buffer(entry.content)).read_all()
    evals = places[table["eval"].to_numpy()]
    rows, findings = table["row"].to_numpy().astype(np.int64), _acted(table["finding"].combine_chunks(), rule)
    if (wanted := evals >= 0).all():
        return _Part(rows, evals, findings)
    return _Part(rows[wanted], evals[wanted], findings.filter(pa.array(wanted)))


def _acted(findings: pa.StructArray, rule: Rule) -> pa.StructArray:
    """The findings with the actions that the rule names now; they may be others than when it was kept."""
    columns = dict(zip(FINDING.names, findings.flatten(), strict=True))
    actions = pa.array([rule.action(kind) for kind in ACTIONS])
    columns["action"] = actions.take(pc.index_in(columns["kind"], pa.array(ACTIONS)))
    return pa.StructArray.from_arrays(list(columns.values()), fields=list(FINDING))


def _merged(parts: Sequence[_Part], size: int) -> pa.Array:
    """The findings of all parts as a full scan gives them; within an eval they are in order already."""
    rows, evals = (np.concatenate([getattr(part, name) for part in parts]) for name in ("rows", "evals"))
    findings = pa.concat_arrays([part.findings for part in parts])
    order = np.lexsort((evals, rows))
    if (order[1:] < order[:-1]).any():
        rows, findings = rows[order], findings.take(pa.array(order))
    offsets = np.concatenate([[0], np.cumsum(np.bincount(rows, minlength=size))])
    empty = pa.array(np.diff(offsets) == 0)
    return pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), findings, mask=empty)
