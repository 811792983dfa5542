"""JSON lines at Arrow's speed, and to the line and field where a line is wrong.

A block of whole lines goes to Arrow's JSON reader. Where that refuses, or where the types of a column
change from one block to the next, Python reads the block line by line, sets the bad lines aside, and hands
Arrow the rest.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.json as pj

from tulu_data.errors import SourceError, Where
from tulu_data.sources.batch import AS_JSON, Batch
from tulu_data.sources.json_types import (
    DEEPEST,
    NAMED,
    is_deep,
    join,
    kind_of,
    kind_of_type,
    may_be_deep,
    mixed_inside,
    undated,
)
from tulu_data.sources.streams import Block, DataFile, Stream, blocks
from tulu_data.sources.tables import Numbers, Reading, constants

_SLICE = 1 << 20
"""Arrow parses slices of this many bytes on its threads."""


def read_jsonl(file: DataFile, reading: Reading) -> Iterator[Batch]:
    """The rows of a JSON lines file."""
    with Stream(file) as stream:
        lines = JsonLines(file.shown, reading)
        for block in blocks(stream):
            yield from lines.read(block)
    if not lines.begun:
        raise SourceError("the file is empty: every line is blank", where=Where(file.shown))


class JsonLines:
    """Reads one file's blocks in turn; remembers what each column holds.

    A row whose column holds another kind of value than the rows before it cannot be used. Where the kinds
    differ further in (the test inputs of HumanEval+ are such), no Arrow type holds the column, and from that
    block on it is given as JSON text, its field marked `AS_JSON`.
    """

    def __init__(
        self, shown: str, reading: Reading, same: Mapping[str, Any] | None = None, *, is_list: bool = False
    ) -> None:
        """`same` are constants of every row; with `is_list` the lines are the entries of a JSON list."""
        self.begun = False
        self._is_list, self._first = is_list, reading.rows
        self._shown, self._reading = shown, reading
        self._same = dict(same or {})
        self._kinds: dict[str, tuple[str, int]] = {}
        """The kind of each column's values, and the line that showed it first."""
        self._types: dict[str, pa.DataType] = {}
        self._as_text: set[str] = set()
        self._hints: dict[str, pa.DataType] = {}
        """Types that Arrow must be told."""

    def read(self, block: Block) -> Iterator[Batch]:
        """The batches of one block."""
        self.begun = True
        rows = self._reading.rows + np.arange(len(block.lines))
        self._reading.rows += len(rows)
        kept, table = np.arange(len(rows)), self._fast(block)
        if table is None:
            kept, table = self._careful(block, rows)
        lines = block.lines[kept]
        table = constants(self._same, self._remember(table, lines))
        yield from self._reading.batches(
            table,
            rows[kept],
            self._shown,
            lines,
            block.position,
            lambda index: block.line(int(kept[index])).decode(),
        )

    def _fast(self, block: Block) -> pa.Table | None:
        """What Arrow makes of the block, or None if a line, or the type of a column, needs a closer look."""
        # Arrow takes two objects on one line, and one object on two; a line must be a row.
        if self._as_text or not block.are_objects() or may_be_deep(block.data) or not _is_utf8(block.data):
            return None
        table = self._parse(block.data, int((block.ends - block.starts).max()))
        if table is None or table.num_rows != len(block.lines) or self._clashing(table):
            return None
        return table

    def _parse(self, data: bytes, longest: int) -> pa.Table | None:
        table = _parse(data, longest, self._hints)
        if table is None and self._hints:
            table, self._hints = _parse(data, longest, {}), {}
        if table is None:
            return None
        dated = {f.name: undated(f.type) for f in table.schema if f.type != undated(f.type)}
        if not dated:
            return table
        # Arrow reads text that looks like a date as a timestamp; only a type given beforehand prevents it. It
        # is kept for the blocks that follow, so that few are parsed twice.
        self._hints |= dated
        return _parse(data, longest, self._hints)

    def _clashing(self, table: pa.Table) -> set[str]:
        """The columns in which this block holds another kind of values than those before it."""
        known = self._types
        return {f.name for f in table.schema if join(known.get(f.name, pa.null()), f.type) is None}

    def _remember(self, table: pa.Table, lines: Numbers) -> pa.Table:
        """Learn what the table's columns hold; nulls and integers take the type that was learnt before."""
        for index, (field, column) in enumerate(zip(table.schema, table.columns, strict=True)):
            known = self._types.get(field.name, pa.null())
            kind = kind_of_type(field.type)
            if kind and field.name not in self._kinds and column.null_count < len(column):
                self._kinds[field.name] = (kind, int(lines[pc.index(pc.is_valid(column), True).as_py()]))
            if pa.types.is_null(field.type):
                table = table.set_column(index, field.name, pa.nulls(len(column), known))
            elif pa.types.is_floating(known) and pa.types.is_integer(field.type):
                table = table.set_column(index, field.name, column.cast(known, safe=False))
            elif field.name not in self._as_text:
                widened = pa.types.is_floating(field.type)
                self._types[field.name] = field.type if widened else join(known, field.type)
        return table

    # -- line by line --------------------------------------------------------------------------------

    def _careful(self, block: Block, rows: Numbers) -> tuple[Numbers, pa.Table]:
        """The lines that can be used, and their table."""
        kept: list[int] = []
        objects: list[dict[str, Any]] = []
        for index in range(len(block.lines)):
            where = Where(self._shown, int(block.lines[index]), int(rows[index]))
            found = self._object(block.line(index), where)
            if found is not None:
                kept.append(index)
                objects.append(found)
        # Often Arrow takes the block once the bad lines are out; only else must types be looked at.
        table = self._fast(block.take(kept)) if 0 < len(kept) < len(block.lines) else None
        return np.array(kept, np.int64), self._table(objects, block) if table is None else table

    def _object(self, line: bytes, where: Where) -> dict[str, Any] | None:
        try:
            found = _decode(line)
            if not isinstance(found, dict):
                raise self._no_object(found, where)
            kinds = {column: kind_of(value) for column, value in found.items() if value is not None}
            for column, kind in kinds.items():
                self._check(column, kind)
        except _BadLineError as bad:
            place = Where(where.file, where.line, where.row, bad.field)
            text = line.decode("utf-8", errors="replace")
            self._reading.set_aside(place, str(bad), expected=bad.expected, text=text)
            return None
        for column, kind in kinds.items():
            self._kinds.setdefault(column, (kind, where.line or 0))
        return found

    def _no_object(self, found: Any, where: Where) -> _BadLineError:
        kind = "null" if found is None else NAMED[kind_of(found)]
        if self._is_list:
            entry = (where.row or 0) - self._first
            return _BadLineError(f"entry {entry} of the list is {kind}", expected="an object")
        return _BadLineError(f"the line holds {kind}", expected=_EXPECTED)

    def _check(self, column: str, kind: str) -> None:
        known, first = self._kinds.get(column, (kind, 0))
        if kind != known and column not in self._as_text:
            what = f"mixed types: the value is {NAMED[kind]}, but {NAMED[known]} on line {first}"
            raise _BadLineError(what, column, f"{NAMED[known]} or null")

    def _table(self, objects: list[dict[str, Any]], block: Block) -> pa.Table:
        if not objects:
            return pa.table({})
        self._as_text |= mixed_inside(objects)
        texts = []
        for row in objects:
            inner = {name: row[name] for name in self._as_text & row.keys() if row[name] is not None}
            texts.append(_dump(row | {name: _dump(value) for name, value in inner.items()}).encode())
        self._hints |= dict.fromkeys(self._as_text, pa.string())
        table = self._parse(b"\n".join([*texts, b""]), max(map(len, texts)))
        if table is None:
            span = f"lines {block.lines[0]} to {block.lines[-1]}"
            raise SourceError(f"{span} hold JSON that Arrow cannot read", where=Where(self._shown))
        if clashing := self._clashing(table) - self._as_text:
            self._as_text |= clashing
            return self._table(objects, block)
        marked = [f.with_metadata(AS_JSON) if f.name in self._as_text else f for f in table.schema]
        return table.cast(pa.schema(marked))


_EXPECTED = "one JSON object per line; a list goes in a .json file"


class _BadLineError(Exception):
    """Why a line is no row."""

    def __init__(self, reason: str, field: str | None = None, expected: str | None = None) -> None:
        super().__init__(reason)
        self.field, self.expected = field, expected


def _decode(line: bytes) -> Any:
    """The value that a line holds."""
    if b"\0" in line:
        place = line.index(b"\0") + 1
        raise _BadLineError(f"a NUL byte, at byte {place} of the line", expected="text in UTF-8")
    try:
        found = json.loads(line.decode("utf-8"))
        if b"\\u" in line:
            _dump(found).encode()
    except UnicodeDecodeError as error:
        reason = f"invalid UTF-8, at byte {error.start + 1} of the line (0x{line[error.start]:02x})"
        raise _BadLineError(reason, expected="text in UTF-8") from None
    except UnicodeEncodeError:
        raise _BadLineError("half of a surrogate pair (\\ud800 to \\udfff) stands alone") from None
    except json.JSONDecodeError as error:
        reason = f"invalid JSON: {error.msg} at column {error.colno}".replace(" at at ", " at ")
        raise _BadLineError(reason, expected=_EXPECTED) from None
    except ValueError:
        raise _BadLineError("a number with more digits than Python reads") from None
    except RecursionError:
        raise _BadLineError("JSON that is nested too deep", expected=f"{DEEPEST} levels at most") from None
    if may_be_deep(line) and is_deep(found):
        raise _BadLineError("JSON that is nested too deep", expected=f"{DEEPEST} levels at most")
    return found


def _dump(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def _parse(data: bytes, longest: int, hints: Mapping[str, pa.DataType]) -> pa.Table | None:
    """`data` as Arrow reads it, in one chunk; None if it refuses."""
    schema = pa.schema(list(hints.items())) if hints else None
    options = pj.ParseOptions(explicit_schema=schema, unexpected_field_behavior="infer")
    # Arrow parses slices on its threads, but it cannot always join the types of two slices (an empty list in
    # one, dates in the other); of one slice it finds the types as a whole.
    for size in (max(_SLICE, 2 * longest + 64), len(data) + 64):
        slices = pj.ReadOptions(block_size=size)
        try:
            table = pj.read_json(pa.BufferReader(data), read_options=slices, parse_options=options)
            return table.combine_chunks()
        except (pa.ArrowException, UnicodeDecodeError):
            continue
    return None


def _is_utf8(data: bytes) -> bool:
    # Arrow's JSON reader does not look; a cast does, at memory speed.
    try:
        pa.array([data], pa.binary()).cast(pa.string())
    except pa.ArrowInvalid:
        return False
    return True
