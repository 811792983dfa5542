"""The review page: one file that opens offline and shows every finding beside its evaluation item.

The page is `web/page.html` with the style and the script inside. The data lie in `<script>` blocks of another
type: one of JSON with what the overview shows, and many of deflated JSON in base64, of which the page unpacks
only those that it shows. No row or item can reach the markup: base64 has no letter of it, the one block of
plain JSON is written without `<`, and the script sets content by `textContent` alone. The page's own policy
(CSP) lets nothing run but its own script, by its hash, and nothing be fetched.
"""

from __future__ import annotations

import json
import os
import zlib
from base64 import b64encode
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from hashlib import sha256
from importlib.resources import files
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from tulu_data import __version__
from tulu_data.decontam.items import SuiteItems
from tulu_data.decontam.review.columns import Columns, Ints, Words, count, used_items
from tulu_data.decontam.review.decisions import Decisions
from tulu_data.decontam.review.texts import WHOLE, Texts, cut
from tulu_data.engine import ordered_map
from tulu_data.engine.spill import disk_errors
from tulu_data.turns import one_chunk

MOST_FINDINGS = 250_000
"""So many findings are listed; the overview counts all."""
FINDINGS_PER_BLOCK = 1024
BLOCK_BYTES = 128 << 10
"""Bytes of text in a block: one is unpacked in a few milliseconds, and still deflates well."""
READ_ROWS = 32_768
LEVEL = 5
"""Of zlib: 6 takes half as long again for 2 % less (3.6 MB of conversations: 0.15 s against 0.09)."""

SCRIPTS = ("data", "decisions", "marks", "overview", "certificate", "list", "detail", "main")
"""The files of the page's script, in the order in which they are put together."""


@dataclass(frozen=True)
class Head:
    """What the page says of the run as a whole."""

    title: str
    """What was scanned, as its user calls it: the output folder, or a mixture and its version."""
    datasets: Mapping[str, int]
    """How many rows were scanned of every dataset, in the order to show."""
    roles: Sequence[str] | None
    """Whose messages were looked at; None means everyone's."""
    contaminated: Collection[tuple[str, str]] = ()
    """Datasets and evals beyond the policy's share."""
    whole_rows: str = "dropped/ and clean/"
    """Where whole rows are to be found, for texts that the page holds in part."""
    warnings: Sequence[str] = field(default_factory=tuple)


def write_report(
    path: Path,
    *,
    head: Head,
    matches: Path | Iterable[pa.Table],
    texts: Texts,
    suite: SuiteItems,
    certificate: Mapping[str, Any] | None = None,
    decisions: Decisions | None = None,
    threads: int | None = None,
) -> str:
    """Writes the review page, and returns the fingerprint of the run that its decisions file will name.

    Args:
        path: of the page, which is replaced.
        head: what is said of the run as a whole.
        matches: `matches.parquet`, or its tables; findings of other suites are left out.
        texts: of the rows that the findings name.
        suite: what was looked for.
        certificate: what `certificate.json` says.
        decisions: what was decided before; the page begins with it.
        threads: how many to compress with; as many as there are cores unless given.

    Raises:
        StoreError: the disk is full, or may not be written.
    """
    page = _Page(head, suite, Columns(suite, Words(head.datasets), MOST_FINDINGS))
    before, after = _template()
    aside = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    with disk_errors(path):
        try:
            with aside.open("w", encoding="utf-8", newline="\n") as out:
                out.write(before)
                blocks = page.blocks(_tables(matches), texts)
                for number, block in enumerate(ordered_map(_packed, blocks, threads or os.cpu_count() or 1)):
                    out.write(f'<script type="application/octet-stream" id="b{number}">{block}</script>\n')
                _write_head(out, page.told(certificate, decisions))
                out.write(after)
            aside.replace(path)
        finally:
            aside.unlink(missing_ok=True)
    return page.columns.run


def _tables(matches: Path | Iterable[pa.Table]) -> Iterator[pa.Table]:
    if not isinstance(matches, Path):
        yield from matches
        return
    with pq.ParquetFile(matches) as file:
        for batch in file.iter_batches(READ_ROWS):
            yield pa.Table.from_batches([batch])


def _packed(data: bytes) -> str:
    return b64encode(zlib.compress(data, LEVEL, wbits=-zlib.MAX_WBITS)).decode()


def _write_head(out: IO[str], told: Mapping[str, Any]) -> None:
    text = json.dumps(told, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    out.write(f'<script type="application/json" id="head">{text.replace("<", chr(92) + "u003c")}</script>\n')


@cache
def _template() -> tuple[str, str]:
    """The page before and after its data, with style and script, and the policy that names their hashes."""
    web = files(__package__) / "web"
    read = {name: (web / name).read_text(encoding="utf-8") for name in ("page.html", "page.css")}
    parts = [(web / f"{name}.js").read_text(encoding="utf-8") for name in SCRIPTS]
    script = '"use strict";\n(() => {\n' + "\n".join(parts) + "})();\n"
    policy = "; ".join(
        [
            "default-src 'none'",
            f"script-src '{_digest(script)}'",
            f"style-src '{_digest(read['page.css'])}'",
            "base-uri 'none'",
            "form-action 'none'",
            "require-trusted-types-for 'script'",
            "trusted-types 'none'",
        ]
    )
    page = read["page.html"].replace("{{policy}}", policy).replace("{{style}}", read["page.css"])
    before, _, after = page.partition("{{data}}")
    return before, after.replace("{{script}}", script)


def _digest(text: str) -> str:
    return f"sha256-{b64encode(sha256(text.encode()).digest()).decode()}"


# -- the data -----------------------------------------------------------------------------------------------


def _json(value: object) -> bytes:
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()


@dataclass
class _Page:
    """The data of one page, block by block; then what is told of them."""

    head: Head
    suite: SuiteItems
    columns: Columns
    names: Words = field(default_factory=Words)
    """Of a row's columns and an item's fields."""
    starts: dict[str, list[int]] = field(default_factory=lambda: {"findings": [], "texts": [], "items": []})
    """For each sort of blocks the number of the first finding, text or item in each of them."""
    total: int = 0
    marks: dict[int, list[tuple[str, int, int]]] = field(default_factory=dict)
    """Of items with a long text: what was found of them, so that they are cut around it."""

    @property
    def listed(self) -> int:
        return min(self.total, MOST_FINDINGS)

    def __post_init__(self) -> None:
        self.long = _long_items(self.suite)

    def blocks(self, tables: Iterable[pa.Table], texts: Texts) -> Iterator[bytes]:
        """Every block: evidence, texts of rows, items, then the columns and the ids of the rows."""
        for table in tables:
            own, items = self.columns.add(table)
            listed = own.slice(0, max(0, MOST_FINDINGS - self.total))
            for first in range(0, listed.num_rows, FINDINGS_PER_BLOCK):
                self.starts["findings"].append(self.total + first)
                part = listed.slice(first, FINDINGS_PER_BLOCK).combine_chunks()
                self._note_marks(part, items[first:])
                yield _json(self._evidence(part))
            self.total += own.num_rows
        columns = {name: values[: self.listed] for name, values in self.columns.all().items()}
        ids = self.columns.row_ids(int(columns["row"][-1]) + 1 if self.listed else 0)
        places = np.full(len(ids), -1, np.int64)
        yield from self._texts(texts, ids, places)
        used, columns["item"] = used_items(self.columns, self.listed)
        yield from self._items(used)
        own = [self.suite.place(item) for item in used.tolist()]
        evals = [self.columns.evals[part.eval.name] for part, _ in own]
        yield _json({**_columns(columns, places), "eval": evals, "id": [part.ids[n] for part, n in own]})
        yield _json(ids.to_pylist())

    def _note_marks(self, matches: pa.Table, items: Ints) -> None:
        """Keeps the marks of items with a long text."""
        for row in np.flatnonzero(self.long[items[: matches.num_rows]]).tolist():
            spans = matches["item_spans"][row].as_py()
            known = self.marks.setdefault(int(items[row]), [])
            known += [(s["field"], s["start"], s["end"]) for s in spans]

    def _evidence(self, matches: pa.Table) -> dict[str, Any]:
        """The spans and scores of some findings, column by column, with how many each finding has."""
        block: dict[str, Any] = {"train_id": matches["train_id"].to_pylist()}
        for name, word in (("train_spans", "column"), ("item_spans", "field"), ("field_scores", "field")):
            lists = one_chunk(matches[name])
            values = lists.flatten()
            parts = {f.name: pc.struct_field(values, f.name) for f in values.type}
            block[name] = {
                "n": pc.list_value_length(lists).to_pylist(),
                word: self.names.numbers(parts.pop(word)).tolist(),
                **{key: (pc.round(v, 4) if key == "score" else v).to_pylist() for key, v in parts.items()},
            }
        return block

    def _texts(self, texts: Texts, ids: pa.Array, places: Ints) -> Iterator[bytes]:
        """The texts of rows; sets in `places` which text of all is the first of a row."""
        number = 0
        for table in texts.read():
            kept = pc.index_in(one_chunk(table["row_id"]), ids)
            if kept.null_count:
                table, kept = table.filter(kept.is_valid()), kept.drop_null()  # noqa: PLW2901
            if not table.num_rows:
                continue
            rows = kept.to_numpy()
            firsts = np.flatnonzero(np.diff(rows, prepend=-1) != 0)
            places[rows[firsts]] = number + firsts
            for first, size in _pieces(one_chunk(table["text"]), firsts):
                self.starts["texts"].append(number + first)
                yield _json(self._text_block(table.slice(first, size), rows[first : first + size]))
            number += table.num_rows

    def _text_block(self, table: pa.Table, rows: Ints) -> dict[str, Any]:
        starts, ends = (table[name].to_pylist() for name in ("starts", "ends"))
        cuts = {n: list(zip(s, ends[n], strict=True)) for n, s in enumerate(starts) if s is not None}
        return {
            "owner": rows.tolist(),
            "row": table["row"].to_pylist(),
            "column": self.names.numbers(one_chunk(table["column"])).tolist(),
            "message": table["message"].to_pylist(),
            "role": table["role"].to_pylist(),
            "text": table["text"].to_pylist(),
            "length": {n: table["length"][n].as_py() for n in cuts},
            "cuts": cuts,
        }

    def _items(self, used: Ints) -> Iterator[bytes]:
        """The items that findings are about."""
        block: list[dict[str, Any]] = []
        size = 0
        for number, item in enumerate(used.tolist()):
            if not block:
                self.starts["items"].append(number)
            block.append(self._item(item))
            size += sum(len(text) for text in block[-1]["text"])
            if size > BLOCK_BYTES or number + 1 == len(used):
                yield _json(block)
                block, size = [], 0

    def _item(self, item: int) -> dict[str, Any]:
        part, number = self.suite.place(item)
        told: dict[str, Any] = {"field": [], "text": [], "cuts": {}, "length": {}}
        for name, text in zip(part.slots, (texts[number] for texts in part.texts), strict=True):
            if not text:
                continue
            marks = [(a, b) for field_, a, b in self.marks.get(item, ()) if field_ == name]
            pieces = cut(len(text), marks)
            if pieces != [(0, len(text))]:
                told["cuts"][len(told["text"])] = pieces
                told["length"][len(told["text"])] = len(text)
            told["field"].append(int(self.names.numbers(pa.array([name]))[0]))
            told["text"].append("".join(text[a:b] for a, b in pieces))
        return told

    def told(self, certificate: Mapping[str, Any] | None, decisions: Decisions | None) -> dict[str, Any]:
        """What the page says before any block is unpacked."""
        counts, suite = count(self.columns), self.suite
        datasets = self.columns.datasets.listed()
        contaminated = {(d, e) for d, e in self.head.contaminated}
        names = list(self.columns.evals)
        return {
            "version": __version__,
            "title": self.head.title,
            "run": self.columns.run,
            "suite": suite.suite.name,
            "rule": suite.suite.rule.model_dump(mode="json"),
            "roles": None if self.head.roles is None else list(self.head.roles),
            "whole_rows": self.head.whole_rows,
            "warnings": list(self.head.warnings),
            "total": self.total,
            "listed": self.listed,
            "rows": self.columns.rows,
            "kinds": self.columns.kinds.listed(),
            "actions": self.columns.actions.listed(),
            "names": self.names.listed(),
            "counts": counts.kinds,
            "cells": [[*cell, (datasets[cell[0]], names[cell[1]]) in contaminated] for cell in counts.cells],
            "datasets": [
                {"name": name, "rows": self.head.datasets.get(name), "found": found}
                for name, found in zip(datasets, counts.datasets, strict=True)
            ],
            "evals": [
                {
                    "name": part.eval.name,
                    "role": part.eval.role,
                    "split": part.eval.split,
                    "items": len(part.ids),
                    "unchecked": suite.unchecked(part),
                    "found": found,
                }
                for part, found in zip(suite.evals, counts.evals, strict=True)
            ],
            "certificate": certificate and _control(certificate),
            "decided": [[*place, word] for place, word in decisions.words.items()] if decisions else [],
            "blocks": self.starts,
        }


def _control(certificate: Mapping[str, Any]) -> dict[str, Any]:
    """What the page shows of `certificate.json`."""
    names = ("kind", "about", "decoy", "promised", "eligible", "planted", "found")
    kinds = [
        {**{name: kind[name] for name in names}, "not_checkable": sum(kind["not_checkable"].values())}
        for kind in certificate["kinds"]
    ]
    return {"status": certificate["status"], "statement": certificate["statement"], "kinds": kinds}


def _long_items(suite: SuiteItems) -> npt.NDArray[np.bool_]:
    """Of every item of a suite: has it a text that is too long to be shown whole?"""
    sizes = [
        np.max([[len(text) for text in texts] for texts in part.texts], axis=0, initial=0)
        for part in suite.evals
    ]
    return np.asarray(np.concatenate(sizes) > WHOLE)


def _columns(columns: Mapping[str, npt.NDArray[Any]], places: Ints) -> dict[str, Any]:
    """What the page filters and sorts by. Ascending numbers are told by their steps, which deflate well."""
    return {
        "row": np.diff(columns["row"], prepend=0).tolist(),
        "text": np.diff(places, prepend=0).tolist(),
        **{name: columns[name].tolist() for name in ("dataset", "item", "kind", "action")},
        "score": np.round(columns["score"], 4).tolist(),
    }


def _pieces(texts: pa.Array, firsts: Ints) -> Iterator[tuple[int, int]]:
    """Where to cut a list of texts into blocks, between rows: first and size of each."""
    ends = np.concatenate([[0], np.cumsum(pc.binary_length(texts).to_numpy())])
    block = ends[firsts] // BLOCK_BYTES
    starts = firsts[np.diff(block, prepend=-1) != 0].tolist()
    for first, last in zip(starts, [*starts[1:], len(texts)], strict=True):
        yield first, last - first
