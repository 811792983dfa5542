"""Which rows of two versions differ, and what is responsible: from ids and other narrow columns alone.

A row that only one version has is held against the other version, in this order:

    source       the other has no source of that name
    dropped      a step of the other rejected it: its `dropped/` has the row, with step and verdict
    edited       … or the row with its upstream id and another content, if there is just one
    selection    its sort key lies above the cut of the other's selection from the rows as loaded
    quota        … or above the cut of its selection from the rows that passed the steps
    upstream     none of these, and the other read the source at another revision, files or adapter
    unread       none of these though the source is the same: a bad row set aside, or behind a preview's limit
"""

# ruff: noqa: S608 - the names of tables and columns are fixed, and `parquet` quotes paths

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import duckdb
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from tulu_data.mixtures.find import (
    TEST,
    data_files,
    dropped_files,
    label,
    lineage_file,
    parquet,
    query,
    readable,
)
from tulu_data.mixtures.store import Version
from tulu_data.record import CONTENT, sort_keys

CHANGES = pa.schema(
    [
        ("change", pa.string()),  # added, removed, changed, moved or reweighted
        ("id", pa.string()),  # without the mark of a copy
        ("source", pa.string()),
        ("upstream_id", pa.string()),
        ("because", pa.string()),  # what is responsible, as above; of other changes what kind of change it is
        ("step", pa.int64()),  # of `dropped`: which step of the other version
        ("verdict", pa.string()),
        ("earlier_id", pa.string()),  # of `changed` content: the id of the row before
        ("columns", pa.string()),  # of `changed` values: which columns, with commas
        ("copies_before", pa.int64()),
        ("copies_after", pa.int64()),
    ]
)
"""The columns of the table of changes: one row per id that differs."""

BEFORE, AFTER = "before", "after"

_NOTHING = """SELECT NULL::VARCHAR AS id, NULL::VARCHAR AS source, NULL::VARCHAR AS upstream_id,
    NULL::BIGINT AS step, NULL::VARCHAR AS verdict LIMIT 0"""


@dataclass(frozen=True)
class Side:
    """One of the two versions, under the name that its tables begin with."""

    name: str
    version: Version
    manifest: Mapping[str, Any]

    @cached_property
    def sources(self) -> dict[str, dict[str, Any]]:
        """What the manifest tells of each source, by its name."""
        return {source["name"]: source for source in self.manifest["sources"]}

    @property
    def label(self) -> str:
        """`sft_mini@v2`."""
        return label(self.version)


def pinned(source: Mapping[str, Any]) -> tuple[Any, ...]:
    """What fixes the rows of a source, wherever its files lie: a commit or the files' hashes, the adapter."""
    lock = source.get("lock") or {}
    files = tuple(file.get("sha256") for file in lock.get("files", ()))
    place = () if files else (lock.get("origin"),)
    return (*place, lock.get("revision"), lock.get("config"), lock.get("split"), files, source.get("adapter"))


class Comparison:
    """Two versions in an in-memory DuckDB: what each verb on differences asks of them."""

    def __init__(self, before: Side, after: Side) -> None:
        self.before, self.after = before, after
        self.connection = duckdb.connect(":memory:")

    def changes(self) -> pa.Table:
        """Every id that differs.

        Raises:
            StoreError: a file of a version is missing or cannot be read.
        """
        for side in (self.before, self.after):
            self._load(side)
            self._load_dropped(side)
        self._only(self.after, self.before, "added")
        self._only(self.before, self.after, "removed")
        self._pair_edited()
        parts = [
            self._held_against(self.before, "added"),
            self._held_against(self.after, "removed"),
            self._edited(),
            *self._altered(),
            self._moved(),
            self._reweighted(),
        ]
        return pa.concat_tables(part.cast(CHANGES) for part in parts)

    def totals(self, side: Side) -> dict[str, tuple[int, int | None]]:
        """By source: its rows, copies among them, and their tokens where the version counted them."""
        sql = f"SELECT source, sum(copies)::BIGINT, sum(tokens)::BIGINT FROM {side.name} GROUP BY source"
        return {source: (rows, tokens) for source, rows, tokens in query(self.connection, sql)}

    def _run(self, sql: str) -> None:
        query(self.connection, sql)

    def _table(self, sql: str) -> pa.Table:
        with readable():
            return self.connection.sql(sql).to_arrow_table()

    def _load(self, side: Side) -> None:
        """The narrow columns of every row; copies of a row count as one."""
        file = lineage_file(side.version.path)
        with readable(file):
            known = set(pq.read_schema(file).names)
        tokens = "tokens" if "tokens" in known else "NULL::INTEGER"
        rows = f"SELECT id, source, upstream_id, license, {tokens} AS tokens FROM {parquet([file])}"
        copied = f"SELECT count(*) FROM {parquet([file])} WHERE contains(id, '+')"
        if query(self.connection, copied) != [(0,)]:
            rows = f"""SELECT split_part(id, '+', 1) AS id, any_value(source) AS source,
                any_value(upstream_id) AS upstream_id, any_value(license) AS license,
                sum(tokens) AS tokens, count(*) AS copies FROM ({rows}) GROUP BY ALL"""
        else:
            rows = f"SELECT *, 1 AS copies FROM ({rows})"
        self._run(f"CREATE TABLE {side.name} AS {rows}")

    def _only(self, here: Side, other: Side, name: str) -> None:
        self._run(f"CREATE TABLE {name} AS SELECT * FROM {here.name} ANTI JOIN {other.name} USING (id)")

    def _load_dropped(self, side: Side) -> None:
        """What a version dropped: ids, and what was said of them."""
        files = dropped_files(side.version.path)
        rows = f"SELECT id, source, upstream_id, step, verdict FROM {parquet(files)}" if files else _NOTHING
        self._run(f"CREATE TABLE dropped_{side.name} AS {rows}")

    # -- edited upstream -------------------------------------------------------------------------------------

    def _pair_edited(self) -> None:
        """Rows that have another content on the other side under their upstream id, which is unique there.

        The other content may be among the rows of the other version, or among those that it dropped.
        """
        once = """SELECT source, upstream_id, min(id) AS id FROM {} WHERE upstream_id IS NOT NULL
            GROUP BY ALL HAVING count(*) = 1"""
        one, two = (once.format(name) for name in ("removed", "added"))
        self._run(
            f"""CREATE TABLE edited AS SELECT r.source, r.upstream_id, r.id AS earlier_id, a.id
            FROM ({one}) r JOIN ({two}) a USING (source, upstream_id)"""
        )
        for name, other in (("added", self.before), ("removed", self.after)):
            self._run(
                f"""CREATE TABLE edited_{name} AS SELECT m.source, m.upstream_id, m.id,
                min(d.step) AS step, arg_min(d.verdict, d.step) AS verdict
                FROM {name} m JOIN dropped_{other.name} d USING (source, upstream_id)
                WHERE d.id != m.id GROUP BY ALL"""
            )
        for name in ("edited", "edited_added", "edited_removed"):
            self._only_unique(name)

    def _only_unique(self, name: str) -> None:
        """Leaves out of a table what has an upstream id that several rows of one version have."""
        for side in (self.before, self.after):
            self._run(
                f"""DELETE FROM {name} WHERE (source, upstream_id) IN (
                SELECT source, upstream_id FROM (
                    SELECT id, source, upstream_id FROM {side.name}
                    UNION ALL SELECT id, source, upstream_id FROM dropped_{side.name}
                ) SEMI JOIN {name} USING (source, upstream_id)
                GROUP BY ALL HAVING count(DISTINCT id) > 1)"""
            )

    def _edited(self) -> pa.Table:
        return self._table(
            """SELECT 'changed' AS change, e.id, e.source, e.upstream_id, 'content' AS because,
            NULL::BIGINT AS step, NULL::VARCHAR AS verdict, e.earlier_id, NULL::VARCHAR AS columns,
            r.copies AS copies_before, a.copies AS copies_after
            FROM edited e JOIN removed r ON r.id = e.earlier_id JOIN added a ON a.id = e.id ORDER BY e.id"""
        )

    # -- rows of one version only ----------------------------------------------------------------------------

    def _held_against(self, other: Side, name: str) -> pa.Table:
        """The rows of the table `name`, which `other` has not, each with what is responsible in `other`."""
        known, paired = ("copies_after", "id") if name == "added" else ("copies_before", "earlier_id")
        missing = "copies_before" if name == "added" else "copies_after"
        rows = self._table(
            f"""SELECT '{name}' AS change, m.id, m.source, m.upstream_id, coalesce(d.step, e.step) AS step,
            coalesce(d.verdict, e.verdict) AS verdict, d.verdict IS NULL AND e.verdict IS NOT NULL AS edited,
            NULL::VARCHAR AS earlier_id, NULL::VARCHAR AS columns, m.copies AS {known}, 0 AS {missing}
            FROM {name} m LEFT JOIN edited_{name} e USING (id) LEFT JOIN (
                SELECT id, min(step) AS step, arg_min(verdict, step) AS verdict FROM dropped_{other.name}
                SEMI JOIN {name} USING (id) GROUP BY ALL
            ) d USING (id)
            WHERE m.id NOT IN (SELECT {paired} FROM edited) ORDER BY m.id"""
        )
        here = self.after if name == "added" else self.before
        because = list(_responsible(rows, here, other))
        return rows.append_column("because", pa.array(because, pa.string())).select(CHANGES.names)

    # -- rows of both ----------------------------------------------------------------------------------------

    def _altered(self) -> Iterator[pa.Table]:
        """Rows with the same id and other values: licences, ratings, models, what an operator rewrote."""
        yield self._values("license", self.before.name, self.after.name, ["license"])
        columns = [name for name in CONTENT[self.before.manifest["kind"]].names if self._may_differ(name)]
        if columns and self.before.manifest["kind"] == self.after.manifest["kind"]:
            one, two = (self._hashed(side, columns) for side in (self.before, self.after))
            yield self._values("values", one, two, columns)

    def _may_differ(self, column: str) -> bool:
        """Whether rows of one id can differ in a column of the content.

        Ids cover no ratings and models. Else a step must write the column, and what the steps write must come
        about otherwise: so texts are read only where that is so.
        """
        if column.endswith(("_rating", "_model")):
            return True
        one, two = (_writing(side.manifest) for side in (self.before, self.after))
        return one != two and any(column in writes for _, writes in (*one, *two))

    def _hashed(self, side: Side, columns: Iterable[str]) -> str:
        """The rows of a version with a hash for each of these columns: no text is held."""
        files = data_files(side.version.path)
        with readable():
            known = {name for file in files[:1] for name in pq.read_schema(file).names}
        parts = [f"hash({c}) AS {c}" if c in known else f"hash(NULL) AS {c}" for c in columns]
        return f"(SELECT id, {', '.join(parts)} FROM {parquet(files)} WHERE NOT contains(id, '+'))"

    def _values(self, because: str, one: str, two: str, columns: Iterable[str]) -> pa.Table:
        told = [f"CASE WHEN x.{c} IS DISTINCT FROM y.{c} THEN '{c}' END" for c in columns]
        differ = [f"x.{c} IS DISTINCT FROM y.{c}" for c in columns]
        return self._table(
            f"""SELECT 'changed' AS change, id, b.source, b.upstream_id, '{because}' AS because,
            NULL::BIGINT AS step, NULL::VARCHAR AS verdict, id AS earlier_id,
            concat_ws(', ', {", ".join(told)}) AS columns, a.copies AS copies_before, b.copies AS copies_after
            FROM {one} x JOIN {two} y USING (id) JOIN {BEFORE} a USING (id) JOIN {AFTER} b USING (id)
            WHERE {" OR ".join(differ)} ORDER BY id"""
        )

    def _moved(self) -> pa.Table:
        """Rows that one version holds out and the other trains on."""
        one, two = (self._held_out(side) for side in (self.before, self.after))
        return self._table(
            f"""SELECT 'moved' AS change, id, a.source, a.upstream_id,
            CASE WHEN y.held IS NULL THEN 'to train' ELSE 'to test' END AS because, NULL::BIGINT AS step,
            NULL::VARCHAR AS verdict, id AS earlier_id, NULL::VARCHAR AS columns, a.copies AS copies_before,
            b.copies AS copies_after FROM ({one}) x FULL JOIN ({two}) y USING (id)
            JOIN {BEFORE} a USING (id) JOIN {AFTER} b USING (id)
            WHERE x.held IS DISTINCT FROM y.held ORDER BY id"""
        )

    def _held_out(self, side: Side) -> str:
        files = sorted((side.version.path / TEST).glob("*.parquet"))
        if not files:
            return "SELECT NULL::VARCHAR AS id, NULL::BOOLEAN AS held LIMIT 0"
        return f"SELECT DISTINCT split_part(id, '+', 1) AS id, true AS held FROM {parquet(files)}"

    def _reweighted(self) -> pa.Table:
        """Rows that stand another number of times in one version than in the other."""
        return self._table(
            f"""SELECT 'reweighted' AS change, id, b.source, b.upstream_id, 'repeat' AS because,
            NULL::BIGINT AS step, NULL::VARCHAR AS verdict, id AS earlier_id, NULL::VARCHAR AS columns,
            a.copies AS copies_before, b.copies AS copies_after
            FROM {BEFORE} a JOIN {AFTER} b USING (id) WHERE a.copies != b.copies ORDER BY id"""
        )


def _writing(manifest: Mapping[str, Any]) -> list[tuple[tuple[Any, ...], tuple[str, ...]]]:
    """The steps that write columns: what each does, seeded by what, and the columns."""
    seed, steps = manifest["seed"], (step for step in manifest["steps"] if step["writes"])
    return [((s["op"], s["version"], s["fingerprint"], seed), tuple(s["writes"])) for s in steps]


def _responsible(rows: pa.Table, here: Side, other: Side) -> Iterator[str]:
    """What is responsible for `other` not having each of these rows of `here`."""
    sources = rows["source"].to_pylist()
    dropped = rows["verdict"].is_valid().to_pylist()
    edited = rows["edited"].to_pylist()
    unselected = _unselected(rows, other)
    rest = {name: _unexplained(of, here.sources.get(name)) for name, of in other.sources.items()}
    for source, gone, other_text, cut in zip(sources, dropped, edited, unselected, strict=True):
        if source not in other.sources:
            yield "source"
        else:
            yield ("edited" if other_text else "dropped") if gone else cut or rest[source]


def _unexplained(other: Mapping[str, Any], here: Mapping[str, Any] | None) -> str:
    """What is responsible for rows of a source that were neither dropped nor lie beyond a cut."""
    if here is None or pinned(other) != pinned(here):
        return "upstream"
    return next(without_cut(other), "unread")


def without_cut(source: Mapping[str, Any]) -> Iterator[str]:
    """The selections that left rows of a source out by more than their keys: by strata, or all of them."""
    rows = source["rows"]
    for word, there in (("selection", rows["read"] - rows.get("bad", 0)), ("quota", rows.get("survived", 0))):
        told = source.get(word) or {}
        taken = told.get("distinct", told.get("rows", there))  # copies of a row left no other one out
        if told.get("cut") is None and taken < there:
            yield word


def _unselected(rows: pa.Table, other: Side) -> list[str]:
    """Of each row: the selection of `other` that its sort key lies beyond, or an empty text."""
    cuts = {name: list(cuts_of(source)) for name, source in other.sources.items()}
    names = rows["source"].to_numpy(zero_copy_only=False)
    beyond = np.full(rows.num_rows, "", object)
    for name, known in cuts.items():
        mask: npt.NDArray[np.bool_] = names == name
        if not known or not mask.any():
            continue
        keys = sort_keys(
            rows["id"].filter(pa.array(mask)).combine_chunks(), other.manifest["seed"]
        ).to_numpy()
        told = np.full(len(keys), "", object)
        for word, cut in reversed(known):
            told[keys > np.uint64(cut)] = word
        beyond[mask] = told
    found: list[str] = beyond.tolist()
    return found


def cuts_of(source: Mapping[str, Any]) -> Iterator[tuple[str, int]]:
    """The selections that a source of a manifest went through, each with the largest key that it took."""
    for word in ("selection", "quota"):
        cut = (source.get(word) or {}).get("cut")
        if cut is not None:
            yield word, int(cut, 16)
