"""`sql`: one statement over the views of a store, with faults told as the rest of the program tells them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import duckdb

from tulu_data.errors import StoreError, TuluDataError, UsageError, Where, unknown
from tulu_data.mixtures.views import connect

BATCH = 1_000
"""Rows that are fetched at once: an answer of any length is read in little memory."""

_NO_TABLE = re.compile(r"Table with name (.+?) does not exist")
_LINE = re.compile(r"\n+LINE (\d+): .*", re.DOTALL)
_PLAIN_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


@dataclass(frozen=True)
class Answer:
    """What a statement gives: its columns, and its rows as Python values, which can be read once."""

    columns: tuple[str, ...]
    """Each name once: `id, id_1` where the statement names two columns `id`."""
    rows: Iterator[tuple[Any, ...]]

    def dicts(self) -> Iterator[dict[str, Any]]:
        """Each row by the names of its columns."""
        return (dict(zip(self.columns, row, strict=True)) for row in self.rows)


def sql(statement: str, *, store: Path | str | None = None) -> Answer:
    """Runs a statement of DuckDB's SQL over the views that `connect` makes.

    Args:
        statement: one statement; of several, the last one answers.
        store: the store; `store/` in the current folder unless given.

    Raises:
        StoreError: there is no store, or a file that the statement names cannot be read or written.
        UsageError: the statement is wrong; says the nearest table where one is meant that does not exist.
    """
    connection = connect(store)
    try:
        done = connection.execute(statement)  # None where there is no statement in it
        told = connection.description if done else None
        first = connection.fetchmany(BATCH) if told else []  # what fails, fails here if it can
    except duckdb.Error as error:
        raise _fault(error, statement, connection) from error
    return Answer(_unique([column[0] for column in told or ()]), _rows(first, statement, connection))


def _rows(
    first: list[Any], statement: str, connection: duckdb.DuckDBPyConnection
) -> Iterator[tuple[Any, ...]]:
    batch = first
    while batch:
        yield from batch
        try:
            batch = connection.fetchmany(BATCH)
        except duckdb.Error as error:
            raise _fault(error, statement, connection) from error


def _unique(names: list[str]) -> tuple[str, ...]:
    """The names, with a number behind those that were there before."""
    taken: dict[str, None] = {}
    for name in names:
        numbered = chain([name], (f"{name}_{number}" for number in range(1, len(names))))
        taken[next(n for n in numbered if n not in taken)] = None
    return tuple(taken)


def _fault(error: duckdb.Error, statement: str, connection: duckdb.DuckDBPyConnection) -> TuluDataError:
    """DuckDB's message as one of ours, on one line."""
    text = str(error)
    line = _LINE.search(text)
    where = Where(line=int(line[1])) if line and "\n" in statement.strip() else None
    names = [name for (name,) in connection.cursor().execute("SHOW TABLES").fetchall()]
    if missing := _NO_TABLE.search(text):
        return unknown("table or view", missing[1], names, where=where)
    said = " ".join(_LINE.sub("", text).split())
    if isinstance(error, duckdb.IOException):
        return StoreError(said)
    return UsageError(said, where=where, remedy=_quoting(statement, names))


def _quoting(statement: str, names: list[str]) -> str | None:
    """What to write where a name that SQL has to have in quotes stands without."""
    odd = (name for name in sorted(names, key=len, reverse=True) if not _PLAIN_NAME.fullmatch(name))
    bare = next((name for name in odd if name in statement and f'"{name}"' not in statement), None)
    return (
        f"""Write this name in double quotes, the statement in single ones: 'FROM "{bare}"'"""
        if bare
        else None
    )
