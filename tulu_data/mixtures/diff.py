"""`diff`: what became of the rows between two versions: by source, by what is responsible, with examples."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from tulu_data.engine.spill import disk_errors
from tulu_data.errors import StoreError
from tulu_data.mixtures.differing import AFTER, BEFORE, CHANGES, Comparison, Side, pinned
from tulu_data.mixtures.find import AMOUNTS, data_files, find_version, manifest_of, places, query, read_row
from tulu_data.mixtures.writer import GroupWriter
from tulu_data.workspace import Workspace

KINDS_OF_CHANGE = ("added", "removed", "changed", "moved", "reweighted")
EXAMPLES = 2
"""Rows shown of each kind of change, unless asked otherwise."""

_SETTINGS = ("kind", "seed", "layout")
_PER_SOURCE = ("added", "removed", "changed", "moved", "reweighted")


@dataclass(frozen=True)
class Difference:
    """What differs between two versions."""

    changes: pa.Table
    """One row per id and change, with the columns `CHANGES`."""
    summary: dict[str, Any]
    """As plain data: `{before, after, notes, recipe, rows, responsible, sources, examples}`."""


def diff(
    before: str | Path,
    after: str | Path,
    *,
    examples: int = EXAMPLES,
    store: Path | None = None,
    workspace: Workspace | None = None,
) -> Difference:
    """Compare two versions row by row, by the ids that come from the rows' content.

    No text is read but that of the examples, unless the versions differ in a step that may rewrite rows.

    Args:
        before: a version: `NAME`, `NAME@vK`, `NAME@preview`, or its folder.
        after: the version to compare it with.
        examples: how many rows to read of each kind of change.
        store: the store; `store/` in the workspace unless given.
        workspace: the current folder unless given.

    Raises:
        UsageError: nothing has that name.
        StoreError: there is no store, or a file of a version is missing or cannot be read.
    """
    store = store or (workspace or Workspace.here()).root / "store"
    one, two = (
        Side(name, version, manifest_of(version.path))
        for name, version in ((BEFORE, find_version(before, store)), (AFTER, find_version(after, store)))
    )
    comparison = Comparison(one, two)
    changes = comparison.changes()
    groups = _groups(changes, comparison.connection)
    for group in groups:
        group["why"] = why(group, one, two)
    totals = comparison.totals(one), comparison.totals(two)
    summary = {
        "before": _head(one, totals[0]),
        "after": _head(two, totals[1]),
        "notes": list(_notes(one, two)),
        "recipe": list(_recipe_changes(one, two)),
        "rows": _rows(groups, changes, totals),
        "responsible": [{key: group[key] for key in (*_GROUP, "why")} for group in groups],
        "sources": _sources(one, two, totals, groups),
        "examples": _examples(groups, changes, comparison, examples),
    }
    comparison.connection.close()
    return Difference(changes, summary)


def write_changes(found: Difference, path: Path) -> None:
    """Writes every id that differs as a Parquet file.

    Raises:
        StoreError: the file exists, or cannot be written.
    """
    if path.exists():
        raise StoreError("the file exists", where=str(path), expected="the name of a new file")
    try:
        with disk_errors(path), GroupWriter(path, found.changes.schema) as writer:
            writer.write(found.changes)
    except BaseException:
        path.unlink(missing_ok=True)
        raise


_Totals = dict[str, tuple[int, int | None]]


def _head(side: Side, totals: _Totals) -> dict[str, Any]:
    told = side.manifest
    tokens = [tokens for _, tokens in totals.values()]
    return {
        "name": side.label,
        "version": told["version"],
        "path": str(side.version.path),
        **{key: told[key] for key in ("kind", "seed", "logical_hash")},
        "rows": sum(rows for rows, _ in totals.values()),
        "tokens": None if None in tokens else sum(filter(None, tokens)),
    }


def _notes(one: Side, two: Side) -> Iterator[str]:
    """What one should know before reading the rest."""
    a, b = one.manifest, two.manifest
    if a["logical_hash"] == b["logical_hash"]:
        yield "both have the same rows in the same order"
    if a["kind"] != b["kind"]:
        yield f"the kinds differ ({a['kind']}, {b['kind']}): what is content in one is not in the other"
    if a["seed"] != b["seed"]:
        yield f"the seeds differ ({a['seed']}, {b['seed']}): each selection took other rows"
    if _counted(one) != _counted(two):
        yield "tokens are counted by another rule: do not compare their numbers"
    for name, source in two.sources.items():
        old = [n for n, s in one.sources.items() if n not in two.sources and pinned(s) == pinned(source)]
        if name not in one.sources and old:
            yield f"source {name} reads what source {old[0]} read: the same rows under other ids"
    for side in (one, two):
        if side.manifest.get("preview"):
            yield f"{side.label} is a preview: it read only the first rows of each source"


def _counted(side: Side) -> dict[str, Any]:
    """How a version counts tokens."""
    return {key: value for key, value in side.manifest.get("tokens", {}).items() if key != "rows"}


# -- the recipe ----------------------------------------------------------------------------------------------


def _recipe_changes(one: Side, two: Side) -> Iterator[dict[str, Any]]:
    """Which settings, sources and steps differ: `{part, key, before, after}`."""
    for key in _SETTINGS:
        yield from _change("mixture", key, one.manifest.get(key), two.manifest.get(key))
    for key in AMOUNTS:
        yield from _change("mixture", key, *(side.manifest["recipe"].get(key) for side in (one, two)))
    entries = [{s["name"]: s for s in side.manifest["recipe"].get("sources", [])} for side in (one, two)]
    for name in dict.fromkeys([*one.sources, *two.sources]):
        part = f"source {name}"
        if name not in one.sources or name not in two.sources:
            yield from _change(part, "source", *(_origin(side.sources.get(name)) for side in (one, two)))
            continue
        a, b = (known.get(name, {}) for known in entries)
        for key in dict.fromkeys([*a, *b]):
            yield from _change(part, key, a.get(key), b.get(key))
        yield from _lock_changes(part, one.sources[name], two.sources[name])
    yield from _step_changes(one.manifest["steps"], two.manifest["steps"])


def _change(part: str, key: str, before: Any, after: Any) -> Iterator[dict[str, Any]]:
    if before != after:
        yield {"part": part, "key": key, "before": before, "after": after}


def _origin(source: Mapping[str, Any] | None) -> str | None:
    return source["from"] if source else None


def _lock_changes(part: str, before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """A source that is read at another commit, or whose files have other bytes."""
    if pinned(before) == pinned(after):
        return
    a, b = before["lock"], after["lock"]
    yield from _change(part, "commit", a.get("revision"), b.get("revision"))
    yield from _change(part, "adapter", before.get("adapter"), after.get("adapter"))
    files = [{f["path"]: f["sha256"] for f in lock.get("files", ())} for lock in (a, b)]
    for path in sorted({*files[0], *files[1]}):
        yield from _change(part, f"file {path}", files[0].get(path), files[1].get(path))


def _step_changes(
    before: Sequence[Mapping[str, Any]], after: Sequence[Mapping[str, Any]]
) -> Iterator[dict[str, Any]]:
    """Steps by their word, and the how-manieth of that word they are."""
    one, two = _numbered(before), _numbered(after)
    for name in dict.fromkeys([*one, *two]):
        part, a, b = f"step {name}", one.get(name), two.get(name)
        if a is None or b is None:
            yield from _change(part, "step", *(s and (s["settings"] or {}) for s in (a, b)))
        elif a["fingerprint"] != b["fingerprint"]:
            yield from _change(part, "version", a["version"], b["version"])
            keys = dict.fromkeys([*a["settings"], *b["settings"]])
            told = [
                c for key in keys for c in _change(part, key, a["settings"].get(key), b["settings"].get(key))
            ]
            yield from told or _change(part, "fingerprint", a["fingerprint"], b["fingerprint"])
    order = [[name for name in known if name in one and name in two] for known in (one, two)]
    yield from _change("steps", "order", *order)


def _numbered(steps: Sequence[Mapping[str, Any]]) -> dict[str, Mapping[str, Any]]:
    seen: Counter[str] = Counter()
    named = {}
    for step in steps:
        seen[step["op"]] += 1
        again = seen[step["op"]]
        named[step["op"] if again == 1 else f"{step['op']} {again}"] = step
    return named


# -- rows ----------------------------------------------------------------------------------------------------

_GROUP = (
    "change",
    "source",
    "because",
    "step",
    "verdict",
    "columns",
    "rows",
    "copies_before",
    "copies_after",
)


def _groups(changes: pa.Table, connection: duckdb.DuckDBPyConnection) -> list[dict[str, Any]]:
    """The changes that have the same source and reason, and the first ids of each; most rows first."""
    connection.register("changes", changes)
    sql = """SELECT change, source, because, step, verdict, columns, count(*), sum(copies_before)::BIGINT,
        sum(copies_after)::BIGINT, min(id) FROM changes GROUP BY ALL ORDER BY 7 DESC, 1, 2, 3, 4, 5, 6"""
    groups = [dict(zip((*_GROUP, "first"), row, strict=True)) for row in query(connection, sql)]
    return sorted(groups, key=lambda group: KINDS_OF_CHANGE.index(group["change"]))


def _rows(
    groups: Sequence[Mapping[str, Any]], changes: pa.Table, totals: tuple[_Totals, _Totals]
) -> dict[str, int]:
    """How many rows each version has, how many differ, and how many stand in both as they were.

    Rows of the versions are counted with their copies, differing ones without.
    """
    counts: Counter[str] = Counter()
    for group in groups:
        counts[group["change"]] += group["rows"]
    before, after = (sum(rows for rows, _ in of.values()) for of in totals)
    gone = sum(g["copies_before"] for g in groups if g["change"] == "removed")
    touched = changes.filter(
        pa.compute.is_in(changes["change"], pa.array(["changed", "moved", "reweighted"]))
    )
    distinct = touched.group_by("id").aggregate([("copies_before", "max")])
    same = before - gone - (pa.compute.sum(distinct["copies_before_max"]).as_py() or 0)
    return {"before": before, "after": after, "same": same} | {kind: counts[kind] for kind in KINDS_OF_CHANGE}


def _sources(
    one: Side, two: Side, totals: tuple[_Totals, _Totals], groups: Sequence[Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """Each source in both versions: its rows, tokens and shares, and how many of its rows differ."""
    told = []
    for name in dict.fromkeys([*one.sources, *two.sources]):
        counts = Counter(dict.fromkeys(_PER_SOURCE, 0))
        for group in groups:
            if group["source"] == name:
                counts[group["change"]] += group["rows"]
        told.append(
            {"source": name, BEFORE: _share(name, totals[0]), AFTER: _share(name, totals[1]), **counts}
        )
    return told


def _share(name: str, totals: _Totals) -> dict[str, Any] | None:
    """Rows and tokens of a source, and their shares of the whole; None where it has no rows."""
    if name not in totals:
        return None
    rows, tokens = totals[name]
    all_rows, all_tokens = (sum(filter(None, column)) for column in zip(*totals.values(), strict=True))
    share_of_tokens = None if tokens is None or not all_tokens else round(tokens / all_tokens, 6)
    return {
        "rows": rows,
        "tokens": tokens,
        "share_of_rows": round(rows / all_rows, 6),
        "share_of_tokens": share_of_tokens,
    }


def why(change: Mapping[str, Any], one: Side, two: Side) -> str:
    """What is responsible for a change, in words."""
    added = change["change"] == "added"
    other = one if added else two
    because = change["because"]
    if because in {"dropped", "edited"}:
        names = {step["step"]: step["op"] for step in other.manifest["steps"]}
        name = names.get(change["step"], "a step")
        what = "it" if because == "dropped" else f"the {'earlier' if added else 'new'} text"
        edited = "" if because == "dropped" else "edited upstream; "
        return f"{edited}{name} (step {change['step']}) dropped {what} in {other.label}: {change['verdict']}"
    words = {
        "source": f"{other.label} has no such source",
        "selection": f"not selected in {other.label}",
        "quota": f"not selected in {other.label} from the rows that pass its steps",
        "upstream": "new in the source" if added else "no longer in the source",
        "unread": f"not read in {other.label}: a bad row set aside, or behind the limit of a preview",
        "content": "another text under the same upstream id",
        "values": f"other values: {change['columns']}{_written(change, one, two)}",
        "license": "another licence",
        "repeat": f"copies: {change['copies_before']:,} -> {change['copies_after']:,}",
    }
    return words.get(because) or f"moved {because}: {_why_moved(one, two)}"


def _why_moved(one: Side, two: Side) -> str:
    """What decides which rows are held out: the hash of the prompt, under the seed, against the fraction."""
    before, after = (side.manifest["recipe"].get("holdout") or {} for side in (one, two))
    if before != after:
        told = (f"{held['fraction']:.4g}" if held else "none" for held in (before, after))
        return f"`holdout` {' -> '.join(told)}"
    if one.manifest["seed"] != two.manifest["seed"]:
        return f"the seed {one.manifest['seed']} -> {two.manifest['seed']}"
    return "its prompt is another"


def _written(change: Mapping[str, Any], one: Side, two: Side) -> str:
    """The steps that write the columns whose values changed."""
    columns = {*(change["columns"] or "").split(", ")}
    steps = [step for side in (one, two) for step in side.manifest["steps"]]
    names = dict.fromkeys(step["op"] for step in steps if columns & {*step["writes"]})
    return f", which {', '.join(names)} writes" if names else ", in the source"


# -- examples ------------------------------------------------------------------------------------------------


def _examples(
    groups: Sequence[Mapping[str, Any]], changes: pa.Table, comparison: Comparison, count: int
) -> list[dict[str, Any]]:
    """Rows of each kind of change, of as many sources and reasons as there are, in both versions."""
    chosen = [row for kind in KINDS_OF_CHANGE for row in _chosen(kind, groups, changes, comparison, count)]
    texts = []
    for side, key in ((comparison.before, "earlier_id"), (comparison.after, "id")):
        skipped = "added" if side is comparison.before else "removed"
        wanted = {row["id"] if row[key] is None else row[key] for row in chosen if row["change"] != skipped}
        found = places(data_files(side.version.path), wanted, comparison.connection)
        texts.append({id_: read_row(place) for id_, place in found.items()})
    return [
        {
            **{key: row[key] for key in CHANGES.names},
            "why": why(row, comparison.before, comparison.after),
            BEFORE: texts[0].get(row["earlier_id"] or row["id"]),
            AFTER: texts[1].get(row["id"]) if row["change"] != "removed" else None,
        }
        for row in chosen
    ]


def _chosen(
    kind: str, groups: Sequence[Mapping[str, Any]], changes: pa.Table, comparison: Comparison, count: int
) -> list[dict[str, Any]]:
    """The first rows of different groups; where there are fewer groups than rows asked for, further ones."""
    firsts = [group["first"] for group in groups if group["change"] == kind][:count]
    if not firsts:
        return []
    marks = ", ".join("?" for _ in firsts)
    sql = f"SELECT * FROM changes WHERE change = ? ORDER BY id NOT IN ({marks}), id LIMIT ?"  # noqa: S608
    rows = query(comparison.connection, sql, [kind, *firsts, count])
    return [dict(zip(changes.column_names, row, strict=True)) for row in rows]
